//! `#[nki::kernel]`: what the function becomes.

use crate::lint::{self, Findings, Position};
use crate::naming;
use crate::signature::{Generic, Kind, Signature};
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use std::collections::HashSet;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, ItemFn, Lit, Meta, parse_quote, parse2};

pub fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function = match parse2::<ItemFn>(item.clone()) {
        Ok(f) => f,
        Err(e) => {
            let other = parse2::<syn::Item>(item.clone()).is_ok();
            let message = "`#[nki::kernel]` belongs on a function\nhelp: `fn kernel(nc: Nc, ..)`";
            let e = if other { syn::Error::new_spanned(&item, message) } else { e };
            let e = e.to_compile_error();
            return quote!(#e #item);
        }
    };
    let signature = Signature::read(&function);
    let Findings { mut errors, changed_in_place } = lint::check(&function);
    if !attribute.is_empty() {
        errors.push(syn::Error::new_spanned(&attribute, "`#[nki::kernel]` takes no arguments"));
    }
    let signature = match signature {
        Ok(s) => s,
        Err(e) => {
            errors.insert(0, e);
            return beside(&errors, function);
        }
    };
    if !errors.is_empty() {
        return beside(&errors, function);
    }
    generate(function, &signature, &changed_in_place)
}

/// The errors, and the item without our attributes so that the rest of the crate still sees it.
fn beside(errors: &[syn::Error], mut function: ItemFn) -> TokenStream {
    strip_markers(&mut function);
    let errors = errors.iter().map(syn::Error::to_compile_error);
    quote!(#(#errors)* #[allow(unused)] #function)
}

fn strip_markers(function: &mut ItemFn) {
    for input in &mut function.sig.inputs {
        if let syn::FnArg::Typed(p) = input {
            p.attrs.retain(|a| !a.path().is_ident("inout"));
        }
    }
}

fn generate(mut function: ItemFn, signature: &Signature, in_place: &HashSet<Position>) -> TokenStream {
    let mut labels = naming::name_values(&mut function.block, in_place);
    labels.retain(|l| l.unraw() != "_");
    strip_markers(&mut function);
    let name = function.sig.ident.unraw().to_string();
    let nc = &signature.nc;
    let body = &function.block;
    let output = match &function.sig.output {
        syn::ReturnType::Type(_, ty) if !mentions_impl(ty) => Some(quote!(-> #ty)),
        _ => None,
    };
    // A closure is not `#[track_caller]`, so that operations report their own position and not the caller's.
    let wrapped = quote_spanned!(body.span()=> {
        let __nki_scope = ::nki::__private::enter(
            #nc, #name, concat!(module_path!(), "::", #name), ::core::panic::Location::caller(),
        );
        #[allow(clippy::redundant_closure_call)]
        let __nki_result = (move || #output #body)();
        drop(__nki_scope);
        __nki_result
    });
    function.block = parse2(wrapped).expect("a block wrapped in a block is a block");
    function.attrs.push(parse_quote!(#[track_caller]));
    function.attrs.push(parse_quote!(#[allow(clippy::let_unit_value)]));
    let companion = companion(&function, signature, &labels);
    quote!(#function #companion)
}

fn mentions_impl(ty: &syn::Type) -> bool {
    struct Find(bool);
    impl<'a> syn::visit::Visit<'a> for Find {
        fn visit_type_impl_trait(&mut self, _: &'a syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut find = Find(false);
    syn::visit::visit_type(&mut find, ty);
    find.0
}

/// The type `f` next to the function `f`. It is a type and not a module so that kernels can be declared inside functions.
fn companion(function: &ItemFn, signature: &Signature, labels: &[Ident]) -> TokenStream {
    let ident = &function.sig.ident;
    let name = ident.unraw().to_string();
    let at = format_ident!("{}_at", name);
    let vis = &function.vis;
    let span = ident.span();
    let texts = labels.iter().map(|l| l.unraw().to_string());
    let doc = doc_of(&function.attrs);
    let about = format!(
        "What can be done with the kernel `{name}` without calling it: specialise it, name its parts."
    );
    let about_at = format!("Labels of what `{name}` binds with `let` and `for`, for schedules.");
    let params = signature.params.iter().map(|p| {
        let (name, ty) = (&p.name, p.ty_text());
        let kind = match p.kind {
            Kind::Tensor { optional, inout, .. } => {
                quote!(::nki::ParamKind::Tensor { optional: #optional, inout: #inout })
            }
            _ => quote!(::nki::ParamKind::Value),
        };
        let fields = match (matches!(p.kind, Kind::Value), p.mentions_generic) {
            (true, false) => {
                let ty = &p.ty;
                quote!(|name| {
                    #[allow(unused_imports)]
                    use ::nki::__private::{FieldsOf as _, NoFields as _};
                    (&&&::nki::__private::Parameter::<#ty>::new()).__nki_fields(name)
                })
            }
            _ => quote!(|_| ::std::vec::Vec::new()),
        };
        quote!(::nki::ParamInfo { name: #name, ty: #ty, kind: #kind, fields: #fields })
    });
    let specialize = signature.launchable().then(|| specialize(function, signature));
    let by_name = signature.by_name().then(|| by_name(signature, ident));
    let launch = match by_name {
        Some(_) => quote!(::core::option::Option::Some(#ident::__nki_launch)),
        None => quote!(::core::option::Option::None),
    };
    quote_spanned! {span=>
        #[doc = #about]
        #[allow(non_camel_case_types, dead_code, clippy::empty_enums)]
        #vis enum #ident {}

        #[doc = #about_at]
        #[allow(non_camel_case_types, dead_code)]
        #[derive(Clone, Copy, Debug)]
        #vis struct #at { #(pub #labels: ::nki::Label,)* }

        #[allow(non_upper_case_globals, dead_code)]
        impl #ident {
            #[doc = #about_at]
            pub const at: #at = #at {
                #(#labels: ::nki::Label { path: concat!(module_path!(), "::", #name), name: #texts },)*
            };
            /// The kernel's name, place and parameters.
            pub const INFO: &'static ::nki::KernelInfo = &::nki::KernelInfo {
                name: #name,
                path: concat!(module_path!(), "::", #name),
                file: file!(),
                line: line!(),
                doc: #doc,
                params: &[#(#params),*],
                launch: #launch,
            };
            #specialize
            #by_name
        }

        ::nki::__private::inventory::submit! { #ident::INFO }
    }
}

/// `specialize(..)`: the kernel's parameters without `nc`, tensors by anything that describes one.
fn specialize(function: &ItemFn, signature: &Signature) -> TokenStream {
    let ident = &function.sig.ident;
    let (generics, where_clause) = (&function.sig.generics, &function.sig.generics.where_clause);
    let doc = format!(
        "Specialises [`{0}`]: tensors are given as shapes (`[512, 1024]`) or as arrays, whose data is kept for running; other \
         values as they are.",
        ident.unraw()
    );
    let (mut inputs, mut declare, mut call, mut bounds) = (vec![], vec![], vec![], vec![]);
    for (i, p) in signature.params.iter().enumerate() {
        let (arg, name, ty) = (p.argument(i), &p.name, &p.ty);
        match &p.kind {
            Kind::Tensor { elem, optional: false, inout } => {
                inputs.push(quote!(#arg: impl ::nki::launch::TensorArg<#elem>));
                declare.push(quote!(__launcher.tensor::<#elem>(#name, #inout, #arg);));
                call.push(quote!(__handles.tensor()));
            }
            Kind::Tensor { elem, optional: true, inout } => {
                inputs.push(quote!(#arg: ::core::option::Option<impl ::nki::launch::TensorArg<#elem>>));
                declare.push(quote!(__launcher.optional::<#elem>(#name, #inout, #arg);));
                call.push(quote!(__handles.optional()));
            }
            _ => {
                inputs.push(quote!(#arg: #ty));
                call.push(quote!(::core::clone::Clone::clone(&#arg)));
                if p.mentions_generic {
                    bounds.push(quote!(#ty: ::nki::launch::Param,));
                } else {
                    declare.push(quote!(::nki::__private::is_param::<#ty>();));
                }
            }
        }
    }
    let predicates = where_clause.iter().flat_map(|w| &w.predicates);
    let type_args = signature.generics.iter().map(Generic::ident);
    let turbofish = (!signature.generics.is_empty()).then(|| quote!(::<#(#type_args),*>));
    quote! {
        #[doc = #doc]
        #[track_caller]
        #[allow(clippy::too_many_arguments)]
        pub fn specialize #generics (#(#inputs),*) -> ::nki::Specialization
        where #(#bounds)* #(#predicates),*
        {
            let mut __launcher = ::nki::__private::Launcher::new(Self::INFO);
            #(#declare)*
            __launcher.finish(move |__nc, __handles| #ident #turbofish (__nc, #(#call),*))
        }
    }
}

/// `__nki_launch`: specialises by argument names, choosing the element type from the tensors given.
fn by_name(signature: &Signature, ident: &Ident) -> TokenStream {
    let args = signature.params.iter().map(|p| {
        let (name, ty) = (&p.name, &p.ty);
        match &p.kind {
            Kind::Tensor { optional: false, .. } => quote!(__args.__tensor(#name)?),
            Kind::Tensor { optional: true, .. } => quote!(__args.__optional(#name)),
            _ => quote!({
                #[allow(unused_imports)]
                use ::nki::__private::{FromArguments as _, NotFromArguments as _};
                (&&&::nki::__private::Parameter::<#ty>::new()).__nki_get(__args, #name)?
            }),
        }
    });
    let result = quote!(::core::result::Result<::nki::Specialization, ::nki::ir::Diagnostics>);
    let decls = signature.generics.iter().map(|g| {
        let (ident, bounds) = (g.ident(), g.bounds());
        quote!(#ident: #bounds)
    });
    let idents: Vec<_> = signature.generics.iter().map(Generic::ident).collect();
    let typed = quote! {
        fn __nki_launch_typed<#(#decls),*>(__args: &::nki::registry::Arguments) -> #result {
            __args.__check(Self::INFO)?;
            ::core::result::Result::Ok(#ident::specialize::<#(#idents),*>(#(#args),*))
        }
    };
    // One match per element type, from the innermost generic outwards.
    let chosen: Vec<_> = (0..idents.len()).map(|i| format_ident!("__T{i}")).collect();
    let mut dispatch = quote!(Self::__nki_launch_typed::<#(#chosen),*>(__args));
    for (i, g) in signature.generics.iter().enumerate().rev() {
        let names = signature.tensors_of(g.ident());
        let first = &names[0];
        let alias = &chosen[i];
        let arms = g.elements().into_iter().map(|(variant, ty)| {
            let (variant, ty) = (format_ident!("{variant}"), syn::parse_str::<syn::Type>(ty));
            let ty = ty.expect("element types are valid Rust types");
            quote!(::nki::ir::DType::#variant => { type #alias = #ty; #dispatch })
        });
        dispatch = quote! {
            match __args.__dtype(&[#(#names),*])? {
                #(#arms)*
                __other => ::core::result::Result::Err(__args.__unsupported(#first, __other)),
            }
        };
    }
    quote! {
        #typed
        fn __nki_launch(__args: &::nki::registry::Arguments) -> #result { #dispatch }
    }
}

/// The first paragraph of the documentation.
fn doc_of(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter_map(|a| match &a.meta {
        Meta::NameValue(nv) if nv.path.is_ident("doc") => match &nv.value {
            Expr::Lit(ExprLit { lit: Lit::Str(s), .. }) => Some(s.value().trim().to_string()),
            _ => None,
        },
        _ => None,
    });
    lines.take_while(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}
