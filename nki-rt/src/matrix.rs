//! Views of matrices inside slices.

use std::marker::PhantomData;

/// A read-only matrix: `rows` rows of `cols` elements, row `i` starting at element `i * stride`.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    stride: usize,
}

/// A mutable matrix, laid out as [`MatRef`]; elements between `cols` and `stride` are never touched.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    // An address, not a slice: the gaps between rows may belong to somebody else.
    data: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: stands for a unique borrow of its elements, and may move where that may.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: shared access to it only reads.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

/// Asserts that the matrix lies inside `len` elements.
#[track_caller]
fn check(len: usize, rows: usize, cols: usize, stride: usize) {
    if rows == 0 || cols == 0 {
        return;
    }
    let end = (rows - 1).checked_mul(stride).and_then(|n| n.checked_add(cols));
    let apart = rows == 1 || stride >= cols;
    assert!(
        apart && end.is_some_and(|n| n <= len),
        "a {rows} x {cols} matrix with row stride {stride} does not fit {len} elements without overlap"
    );
}

impl<'a, T> MatRef<'a, T> {
    /// A view of `rows` x `cols` elements with the given row stride in elements.
    ///
    /// # Panics
    /// When rows overlap or the last one ends outside `data`.
    #[track_caller]
    pub fn new(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        check(data.len(), rows, cols, stride);
        MatRef { data, rows, cols, stride }
    }

    /// A view of `rows` x `cols` elements without gaps between rows.
    #[track_caller]
    pub fn dense(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::new(data, rows, cols, cols)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The elements of row `row`.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &'a [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        if self.cols == 0 { &[] } else { &self.data[row * self.stride..][..self.cols] }
    }

    /// Address of element (0, 0).
    pub fn as_ptr(&self) -> *const T {
        self.data.as_ptr()
    }
}

impl<'a, T> MatMut<'a, T> {
    /// A view of `rows` x `cols` elements with the given row stride in elements.
    ///
    /// # Panics
    /// When rows overlap or the last one ends outside `data`.
    #[track_caller]
    pub fn new(data: &'a mut [T], rows: usize, cols: usize, stride: usize) -> Self {
        check(data.len(), rows, cols, stride);
        MatMut { data: data.as_mut_ptr(), rows, cols, stride, borrow: PhantomData }
    }

    /// A view of `rows` x `cols` elements from an address.
    ///
    /// # Safety
    /// All elements must be valid and nobody else's for the lifetime of the view, and rows must not overlap.
    pub unsafe fn from_raw(data: *mut T, rows: usize, cols: usize, stride: usize) -> Self {
        MatMut { data, rows, cols, stride, borrow: PhantomData }
    }

    /// A view of `rows` x `cols` elements without gaps between rows.
    #[track_caller]
    pub fn dense(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::new(data, rows, cols, cols)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The elements of row `row`.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row exists, and the view is borrowed uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride), self.cols) }
    }

    /// Address of element (0, 0).
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.data
    }
}

/// A read-only matrix in any layout: element (i, j) at `i * strides[0] + j * strides[1]`.
#[derive(Clone, Copy, Debug)]
pub struct StridedRef<'a, T> {
    data: &'a [T],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a, T> StridedRef<'a, T> {
    /// A view with the given shape and strides, in elements.
    ///
    /// # Panics
    /// When the last element lies outside `data`.
    #[track_caller]
    pub fn new(data: &'a [T], shape: [usize; 2], strides: [usize; 2]) -> Self {
        let last = |i: usize| (shape[i] - 1).checked_mul(strides[i]);
        let fits =
            || last(0).zip(last(1)).and_then(|(i, j)| i.checked_add(j)).is_some_and(|end| end < data.len());
        assert!(
            shape.contains(&0) || fits(),
            "a {} x {} matrix with strides {strides:?} does not fit {} elements",
            shape[0],
            shape[1],
            data.len()
        );
        StridedRef { data, shape, strides }
    }

    /// Rows without gaps, one after the other.
    #[track_caller]
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::new(data, [rows, cols], [cols, 1])
    }

    /// The same elements with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        let (shape, strides) = (self.shape, self.strides);
        StridedRef { shape: [shape[1], shape[0]], strides: [strides[1], strides[0]], ..self }
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Distance in elements to the next row and to the next column.
    pub fn strides(&self) -> [usize; 2] {
        self.strides
    }

    /// Address of element (0, 0).
    pub fn as_ptr(&self) -> *const T {
        self.data.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_accept_what_fits_and_refuse_the_rest() {
        let data = [0u8; 10];
        let ok = |r, c, s| std::panic::catch_unwind(|| MatRef::new(&data, r, c, s).rows()).is_ok();
        assert!(ok(2, 5, 5) && ok(3, 2, 4) && ok(1, 10, 0) && ok(0, 99, 1) && ok(7, 0, 99));
        assert!(!ok(2, 5, 6), "the second row ends outside");
        assert!(!ok(2, 4, 3), "the rows overlap");
        assert!(!ok(3, 1, usize::MAX), "the size overflows");
    }

    #[test]
    fn rows_skip_the_gaps() {
        let mut data = [0, 1, 2, 3, 4, 5, 6];
        assert_eq!(MatRef::new(&data, 2, 3, 4).row(1), [4, 5, 6]);
        MatMut::new(&mut data, 2, 3, 4).row_mut(1).fill(9);
        assert_eq!(data, [0, 1, 2, 3, 9, 9, 9]);
        assert_eq!(MatMut::new(&mut data, 2, 0, 0).row_mut(1), []);
    }

    #[test]
    fn strided_views_accept_any_layout_that_fits() {
        let data = [0u8; 10];
        let ok = |shape, strides| {
            std::panic::catch_unwind(|| StridedRef::new(&data, shape, strides).shape()).is_ok()
        };
        assert!(ok([2, 5], [5, 1]) && ok([5, 2], [1, 5]) && ok([4, 4], [0, 3]) && ok([0, 7], [99, 99]));
        assert!(!ok([2, 5], [6, 1]) && !ok([3, 3], [1, 4]) && !ok([2, 2], [usize::MAX, 1]));
        let view = StridedRef::row_major(&data, 2, 5).transposed();
        assert_eq!((view.shape(), view.strides()), ([5, 2], [1, 5]));
    }
}
