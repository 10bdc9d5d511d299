//! Gives what the author binds with `let` and `for` the author's names, by a statement after each binding.

use proc_macro2::Ident;
use quote::quote_spanned;
use std::collections::HashSet;
use syn::ext::IdentExt;
use syn::visit_mut::{self, VisitMut};
use syn::{Block, ExprForLoop, Item, Pat, Stmt, parse2};

/// Inserts the naming statements and returns the names bound, in order of appearance, each once.
pub fn name_values(block: &mut Block) -> Vec<Ident> {
    let mut namer = Namer { names: Vec::new() };
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

struct Namer {
    names: Vec<Ident>,
}

impl Namer {
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

impl VisitMut for Namer {
    fn visit_block_mut(&mut self, block: &mut Block) {
        let mut out = Vec::with_capacity(block.stmts.len());
        for mut stmt in std::mem::take(&mut block.stmts) {
            self.visit_stmt_mut(&mut stmt);
            let names = match &stmt {
                Stmt::Local(l) if l.init.is_some() => bound(&l.pat),
                _ => Vec::new(),
            };
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
