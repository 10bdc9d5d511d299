//! What a byte of PSUM holds, on the paths that lead here.

/// A set of possible states of a byte. With branches, more than one is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

/// What a matmul with an automatic decision does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Overwrite,
    Add,
    /// Overwrites some bytes and adds to others, or depends on the path.
    Mixed,
    /// Would add to what another instruction wrote, which gen2 and gen3 cannot.
    Illegal,
}

impl Action {
    /// Both, on different bytes or paths.
    pub fn join(self, other: Action) -> Action {
        match (self, other) {
            (Action::Illegal, _) | (_, Action::Illegal) => Action::Illegal,
            (a, b) if a == b => a,
            _ => Action::Mixed,
        }
    }
}

impl Flags {
    /// Never written.
    pub const FRESH: Flags = Flags(1);
    /// Written last by a matmul.
    pub const MATMUL: Flags = Flags(2);
    /// Written last by a matmul, and read since.
    const READ: Flags = Flags(4);
    /// Written last by a memset to zero.
    pub const ZERO: Flags = Flags(8);
    /// Written last by another instruction.
    pub const OTHER: Flags = Flags(16);

    /// Possible states of either.
    pub fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
    fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
    /// After a read by another instruction.
    pub fn read(self) -> Flags {
        if self.has(Flags::MATMUL) { Flags(self.0 & !Flags::MATMUL.0 | Flags::READ.0) } else { self }
    }
    /// Whether a finished sum was read.
    pub fn was_read(self) -> bool {
        self.has(Flags::READ)
    }
    /// What an automatic matmul does here.
    pub fn automatic(self, gen4: bool) -> Action {
        let foreign = if gen4 { (Action::Add, Action::Add) } else { (Action::Overwrite, Action::Illegal) };
        let table = [
            (Flags::FRESH, Action::Overwrite),
            (Flags::MATMUL, Action::Add),
            (Flags::READ, Action::Add),
            (Flags::ZERO, foreign.0),
            (Flags::OTHER, foreign.1),
        ];
        let possible = table.iter().filter(|(f, _)| self.has(*f)).map(|(_, a)| *a);
        possible.reduce(Action::join).unwrap_or(Action::Overwrite)
    }
    /// Whether adding is legal here on some path.
    pub fn may_add(self, gen4: bool) -> bool {
        self.has(Flags::MATMUL)
            || self.has(Flags::READ)
            || gen4 && (self.has(Flags::ZERO) || self.has(Flags::OTHER))
    }
    /// Whether something has been written on some path.
    pub fn may_be_written(self) -> bool {
        self.0 & !Flags::FRESH.0 != 0
    }
}
