//! Two vectors as one: what a function does to one, it does to the other next, so that neither waits for itself.

use super::Simd;

/// Vectors of an instruction set, two at a time.
#[derive(Clone, Copy)]
pub(crate) struct Twin<S>(pub S);

/// Methods of registers alone: each half by itself.
macro_rules! halves {
    ($( fn $name:ident $(<const $k:ident: i32>)? ($($arg:ident: $t:ident),*) -> $r:ident; )*) => { $(
        #[inline(always)]
        fn $name $(<const $k: i32>)? (self, $($arg: Self::$t),*) -> Self::$r {
            [self.0.$name $(::<$k>)? ($($arg[0]),*), self.0.$name $(::<$k>)? ($($arg[1]),*)]
        }
    )* };
}

impl<S: Simd> Simd for Twin<S> {
    const LANES: usize = 2 * S::LANES;
    type F = [S::F; 2];
    type I = [S::I; 2];
    type D = [S::D; 2];
    type M = [S::M; 2];

    halves! {
        fn add(a: F, b: F) -> F;
        fn sub(a: F, b: F) -> F;
        fn mul(a: F, b: F) -> F;
        fn div(a: F, b: F) -> F;
        fn sqrt(a: F) -> F;
        fn fma(a: F, b: F, c: F) -> F;
        fn lesser(a: F, b: F) -> F;
        fn greater(a: F, b: F) -> F;
        fn round(a: F) -> F;
        fn lt(a: F, b: F) -> M;
        fn eq(a: F, b: F) -> M;
        fn unordered(a: F, b: F) -> M;
        fn select(mask: M, a: F, b: F) -> F;
        fn add_i(a: I, b: I) -> I;
        fn sub_i(a: I, b: I) -> I;
        fn and_i(a: I, b: I) -> I;
        fn or_i(a: I, b: I) -> I;
        fn xor_i(a: I, b: I) -> I;
        fn shl<const N: i32>(a: I) -> I;
        fn shr<const N: i32>(a: I) -> I;
        fn sar<const N: i32>(a: I) -> I;
        fn gt_i(a: I, b: I) -> M;
        fn select_i(mask: M, a: I, b: I) -> I;
        fn and_m(a: M, b: M) -> M;
        fn or_m(a: M, b: M) -> M;
        fn to_bits(a: F) -> I;
        fn of_bits(a: I) -> F;
        fn to_float(a: I) -> F;
        fn to_int(a: F) -> I;
        fn scale(a: F, n: F) -> F;
        fn half_to_float(a: I) -> F;
        fn float_to_half(a: F) -> I;
        fn widen(a: F) -> D;
        fn narrow(a: D) -> F;
        fn add_d(a: D, b: D) -> D;
        fn sub_d(a: D, b: D) -> D;
        fn mul_d(a: D, b: D) -> D;
        fn div_d(a: D, b: D) -> D;
        fn sqrt_d(a: D) -> D;
        fn fma_d(a: D, b: D, c: D) -> D;
        fn scale_d(a: D, magic: D) -> D;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [self.0.splat(x); 2]
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> Self::I {
        [self.0.splat_i(x); 2]
    }
    #[inline(always)]
    fn splat_d(self, x: f64) -> Self::D {
        [self.0.splat_d(x); 2]
    }
    #[inline(always)]
    fn any(self, a: Self::M) -> bool {
        self.0.any(self.0.or_m(a[0], a[1]))
    }
    #[inline(always)]
    fn all(self, a: Self::M) -> bool {
        self.0.all(self.0.and_m(a[0], a[1]))
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 8], i: Self::I) -> Self::F {
        [self.0.lookup(table, i[0]), self.0.lookup(table, i[1])]
    }

    #[inline(always)]
    fn lookup_4(self, table: &[f32; 4], i: Self::I) -> Self::F {
        [self.0.lookup_4(table, i[0]), self.0.lookup_4(table, i[1])]
    }

    // The contracts are those of the halves, one after the other in memory.
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> Self::F {
        let first = n.min(S::LANES);
        // SAFETY: the caller's promise.
        unsafe { [self.0.load_part(p, first), self.0.load_part(p.wrapping_add(first), n - first)] }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, a: Self::F, n: usize) {
        let first = n.min(S::LANES);
        // SAFETY: the caller's promise.
        unsafe {
            self.0.store_part(p, a[0], first);
            self.0.store_part(p.wrapping_add(first), a[1], n - first);
        }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::F {
        // SAFETY: the caller's promise.
        unsafe { [self.0.load(p), self.0.load(p.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, a: Self::F) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.store(p, a[0]);
            self.0.store(p.add(S::LANES), a[1]);
        }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, a: Self::F) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.stream(p, a[0]);
            self.0.stream(p.add(S::LANES), a[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_i(self, p: *const i32) -> Self::I {
        // SAFETY: the caller's promise.
        unsafe { [self.0.load_i(p), self.0.load_i(p.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn store_i(self, p: *mut i32, a: Self::I) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.store_i(p, a[0]);
            self.0.store_i(p.add(S::LANES), a[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u16) -> Self::I {
        // SAFETY: the caller's promise.
        unsafe { [self.0.load_u16(p), self.0.load_u16(p.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn store_u16(self, p: *mut u16, a: Self::I) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.store_u16(p, a[0]);
            self.0.store_u16(p.add(S::LANES), a[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8) -> Self::I {
        // SAFETY: the caller's promise.
        unsafe { [self.0.load_u8(p), self.0.load_u8(p.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn store_u8(self, p: *mut u8, a: Self::I) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.store_u8(p, a[0]);
            self.0.store_u8(p.add(S::LANES), a[1]);
        }
    }
}
