//! Gives what the author binds with `let` and `for` the author's names, by a statement after each binding.

use crate::lint::{Position, is_assignment, position};
use proc_macro2::Ident;
use quote::quote_spanned;
use std::collections::HashSet;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Block, Expr, ExprForLoop, Item, Pat, Stmt, parse2};

/// Inserts the naming statements, and a check of type before every change in place, and returns the names bound, in order of appearance, each once.
pub fn name_values(block: &mut Block, in_place: &HashSet<Position>) -> Vec<Ident> {
    let mut namer = Namer { names: Vec::new(), in_place };
    namer.visit_block_mut(block);
    let mut seen = HashSet::new();
    namer.names.retain(|n| seen.insert(n.unraw().to_string()));
    namer.names
}

/// The identifiers that a pattern binds.
pub fn bound(pat: &Pat) -> Vec<Ident> {
    let mut out = Vec::new();
    collect(pat, &mut out);
    out
}

fn collect(pat: &Pat, out: &mut Vec<Ident>) {
    match pat {
        Pat::Ident(i) => {
            out.push(i.ident.clone());
            if let Some((_, sub)) = &i.subpat {
                collect(sub, out);
            }
        }
        Pat::Type(t) => collect(&t.pat, out),
        Pat::Paren(p) => collect(&p.pat, out),
        Pat::Reference(r) => collect(&r.pat, out),
        Pat::Tuple(t) => t.elems.iter().for_each(|p| collect(p, out)),
        Pat::TupleStruct(t) => t.elems.iter().for_each(|p| collect(p, out)),
        Pat::Slice(s) => s.elems.iter().for_each(|p| collect(p, out)),
        Pat::Struct(s) => s.fields.iter().for_each(|f| collect(&f.pat, out)),
        _ => {}
    }
}

struct Namer<'a> {
    names: Vec<Ident>,
    in_place: &'a HashSet<Position>,
}

impl Namer<'_> {
    /// A statement that compiles only if what `stmt` changes in place carries its value from turn to turn.
    fn in_place_check(&self, stmt: &Stmt) -> Option<Stmt> {
        let Stmt::Expr(Expr::Binary(b), _) = stmt else { return None };
        if !is_assignment(&b.op) || !self.in_place.contains(&position(&b.left)) {
            return None;
        }
        let target = &b.left;
        let tokens = quote_spanned! {target.span()=> ::nki::__private::in_place(&#target); };
        Some(parse2(tokens).expect("a call is a statement"))
    }

    fn statement(&mut self, ident: &Ident) -> Stmt {
        self.names.push(ident.clone());
        let text = ident.unraw().to_string();
        let tokens = quote_spanned! {ident.span()=>
            #[allow(unused_imports, clippy::all)]
            {
                use ::nki::__private::{Named as _, NotNamed as _};
                (&::nki::__private::Probe(&#ident)).__nki_name(#text);
            }
        };
        parse2(tokens).expect("a block is a statement")
    }
}

/// Calls whose result is no handle, and whose type is often found out only later in the function, where a naming statement
/// would get in the way.
const NO_HANDLES: [&str; 14] = [
    "new",
    "default",
    "with_capacity",
    "from",
    "into",
    "try_into",
    "try_from",
    "parse",
    "collect",
    "from_iter",
    "unwrap_or_default",
    "product",
    "fold",
    "to_owned",
];

/// Whether an initial value may hold handles, by how it is written.
fn may_be_handle(e: &Expr) -> bool {
    let named = |i: &Ident| !NO_HANDLES.iter().any(|n| i == n);
    match e {
        Expr::MethodCall(m) => {
            named(&m.method) && (m.method != "unwrap" && m.method != "expect" || may_be_handle(&m.receiver))
        }
        Expr::Call(c) => match &*c.func {
            Expr::Path(p) => p.path.segments.last().is_none_or(|s| named(&s.ident)),
            _ => true,
        },
        Expr::Path(p) => !p.path.is_ident("None"),
        Expr::Try(t) => may_be_handle(&t.expr),
        Expr::Paren(p) => may_be_handle(&p.expr),
        Expr::Group(g) => may_be_handle(&g.expr),
        Expr::Macro(_) | Expr::Closure(_) | Expr::Lit(_) => false,
        _ => true,
    }
}

impl VisitMut for Namer<'_> {
    fn visit_block_mut(&mut self, block: &mut Block) {
        let mut out = Vec::with_capacity(block.stmts.len());
        for mut stmt in std::mem::take(&mut block.stmts) {
            self.visit_stmt_mut(&mut stmt);
            let names = match &stmt {
                Stmt::Local(l) if l.init.as_ref().is_some_and(|i| may_be_handle(&i.expr)) => bound(&l.pat),
                _ => Vec::new(),
            };
            out.extend(self.in_place_check(&stmt));
            out.push(stmt);
            out.extend(names.iter().map(|n| self.statement(n)));
        }
        block.stmts = out;
    }
    fn visit_expr_for_loop_mut(&mut self, f: &mut ExprForLoop) {
        let names: Vec<Stmt> = bound(&f.pat).iter().map(|n| self.statement(n)).collect();
        visit_mut::visit_expr_for_loop_mut(self, f);
        f.body.stmts.splice(0..0, names);
    }
    // Items inside the body are not part of the kernel.
    fn visit_item_mut(&mut self, _: &mut Item) {}
}
