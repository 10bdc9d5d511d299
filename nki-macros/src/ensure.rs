//! `ensure!`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{BinOp, Expr, Token, parse2};

struct Ensure {
    nc: Expr,
    condition: Expr,
    message: TokenStream,
}

impl Parse for Ensure {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let nc = input.parse()?;
        input.parse::<Token![,]>()?;
        let condition = input.parse()?;
        let message = match input.parse::<Option<Token![,]>>()? {
            Some(_) => input.parse()?,
            None => TokenStream::new(),
        };
        Ok(Ensure { nc, condition, message })
    }
}

pub fn expand(input: TokenStream) -> TokenStream {
    let Ensure { nc, condition, message } = match parse2(input) {
        Ok(e) => e,
        Err(e) => {
            let e = syn::Error::new(
                e.span(),
                format!("{e}\nhelp: `ensure!(nc, condition)` or `ensure!(nc, condition, \"..\")`"),
            );
            return e.to_compile_error();
        }
    };
    let message = match message.is_empty() {
        true => quote!(::core::option::Option::None),
        false => quote!(::core::option::Option::Some(::std::format!(#message))),
    };
    let mut checks = TokenStream::new();
    each(&nc, &condition, &message, &mut checks);
    quote!({ #checks })
}

/// One check per side of `&&`, so that the one that fails is shown.
fn each(nc: &Expr, condition: &Expr, message: &TokenStream, out: &mut TokenStream) {
    match condition {
        Expr::Binary(b) if matches!(b.op, BinOp::And(_)) => {
            each(nc, &b.left, message, out);
            each(nc, &b.right, message, out);
        }
        Expr::Paren(p) => each(nc, &p.expr, message, out),
        _ => out.extend(one(nc, condition, message)),
    }
}

fn one(nc: &Expr, condition: &Expr, message: &TokenStream) -> TokenStream {
    let text = tidy(condition);
    if let Expr::Binary(b) = condition
        && matches!(
            b.op,
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
        )
    {
        let (left, op, right) = (&b.left, &b.op, &b.right);
        let (left_text, right_text) = (tidy(left), tidy(right));
        return quote_spanned! {condition.span()=>
            match (&(#left), &(#right)) {
                (__left, __right) => {
                    let __holds = *__left #op *__right;
                    #[allow(unused_imports)]
                    use ::nki::__private::{NotShown as _, Shown as _};
                    if !__holds {
                        ::nki::__private::ensure_failed(#nc, #text, &[
                            (#left_text, (&::nki::__private::Probe(__left)).__nki_show()),
                            (#right_text, (&::nki::__private::Probe(__right)).__nki_show()),
                        ], #message)
                    }
                }
            }
        };
    }
    quote_spanned! {condition.span()=>
        {
            let __holds: bool = #condition;
            if !__holds {
                ::nki::__private::ensure_failed(#nc, #text, &[], #message)
            }
        }
    }
}

/// The expression as written, near enough.
fn tidy(e: &Expr) -> String {
    let text = e.to_token_stream().to_string();
    let text =
        text.replace(" . ", ".").replace(" (", "(").replace("( ", "(").replace(" )", ")").replace(" ,", ",");
    text.replace(" :: ", "::").replace(" [", "[").replace("[ ", "[").replace(" ]", "]")
}
