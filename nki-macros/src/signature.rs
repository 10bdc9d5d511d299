//! What the parameters of a kernel are, read from how they are written.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{
    FnArg, GenericArgument, GenericParam, ItemFn, Pat, PatType, PathArguments, ReturnType, Token, Type,
};
use syn::{TypeParam, TypeParamBound};

pub struct Signature {
    /// The `nc` parameter.
    pub nc: Ident,
    /// The others.
    pub params: Vec<Parameter>,
    pub generics: Vec<Generic>,
    returns_tensors: bool,
    plain_generics: bool,
}

pub struct Parameter {
    pub name: String,
    ident: Option<Ident>,
    pub ty: Type,
    pub kind: Kind,
    pub mentions_generic: bool,
}

pub enum Kind {
    /// `Hbm<T>` or `Option<Hbm<T>>`.
    Tensor { elem: Box<Type>, optional: bool, inout: bool },
    /// A value that a host can pass.
    Value,
    /// Only another kernel can pass it: tiles, references, closures.
    Internal,
}

/// A type parameter.
pub struct Generic(TypeParam);

/// Element types by the bound that admits them: variant of `DType`, Rust type.
const FLOATS: &[(&str, &str)] = &[("F32", "f32"), ("BF16", "::nki::bf16"), ("F16", "::nki::f16")];
const INTS: &[(&str, &str)] =
    &[("I32", "i32"), ("U32", "u32"), ("I16", "i16"), ("U16", "u16"), ("I8", "i8"), ("U8", "u8")];

impl Generic {
    pub fn ident(&self) -> &Ident {
        &self.0.ident
    }
    pub fn bounds(&self) -> &Punctuated<TypeParamBound, Token![+]> {
        &self.0.bounds
    }
    fn bound_names(&self) -> Vec<String> {
        let names = self.0.bounds.iter().filter_map(|b| match b {
            TypeParamBound::Trait(t) => t.path.segments.last().map(|s| s.ident.to_string()),
            _ => None,
        });
        names.collect()
    }
    /// The element types that its bound admits.
    pub fn elements(&self) -> Vec<(&'static str, &'static str)> {
        let bounds = self.bound_names();
        let has = |n: &str| bounds.iter().any(|b| b == n);
        match (has("Float"), has("Int"), has("Elem")) {
            (true, _, _) => FLOATS.to_vec(),
            (_, true, _) => INTS.to_vec(),
            (_, _, true) => FLOATS.iter().chain(INTS).copied().collect(),
            _ => Vec::new(),
        }
    }
}

impl Parameter {
    /// The identifier under which `specialize` takes it.
    pub fn argument(&self, i: usize) -> Ident {
        self.ident.clone().unwrap_or_else(|| format_ident!("arg{i}"))
    }
    /// The type as the author wrote it.
    pub fn ty_text(&self) -> String {
        let text = self.ty.to_token_stream().to_string();
        text.replace(" <", "<")
            .replace("< ", "<")
            .replace(" >", ">")
            .replace(" ::", "::")
            .replace(":: ", "::")
    }
}

impl Signature {
    pub fn read(function: &ItemFn) -> syn::Result<Signature> {
        let sig = &function.sig;
        let refuse = [
            (sig.asyncness.map(|t| t.span), "async"),
            (sig.unsafety.map(|t| t.span), "unsafe"),
            (sig.constness.map(|t| t.span), "const"),
            (sig.abi.as_ref().map(|a| a.extern_token.span), "extern"),
        ];
        for (span, what) in refuse {
            if let Some(span) = span {
                return Err(syn::Error::new(span, format!("a kernel cannot be `{what}`")));
            }
        }
        let mut inputs = sig.inputs.iter();
        let nc = match inputs.next() {
            Some(FnArg::Typed(p)) => first_parameter(p)?,
            Some(FnArg::Receiver(r)) => {
                let message = "a kernel is a free function, not a method\nhelp: pass what it needs from `self` as parameters";
                return Err(syn::Error::new_spanned(r, message));
            }
            None => {
                let message =
                    "a kernel takes the core as its first parameter\nhelp: write `fn ..(nc: Nc, ..)`";
                return Err(syn::Error::new(sig.paren_token.span.join(), message));
            }
        };
        let mut params = Vec::new();
        for (i, input) in inputs.enumerate() {
            let FnArg::Typed(p) = input else { continue };
            params.push(parameter(i, p, function)?);
        }
        let generics = sig.generics.params.iter().filter_map(|g| match g {
            GenericParam::Type(t) => Some(Generic(t.clone())),
            _ => None,
        });
        let plain_generics = sig.generics.params.iter().all(|g| matches!(g, GenericParam::Type(_)));
        let returns_tensors = match &sig.output {
            ReturnType::Default => true,
            ReturnType::Type(_, ty) => is_tensors(ty),
        };
        Ok(Signature { nc, params, generics: generics.collect(), returns_tensors, plain_generics })
    }

    /// Whether a host can call it.
    pub fn launchable(&self) -> bool {
        self.returns_tensors
            && self.plain_generics
            && !self.params.iter().any(|p| matches!(p.kind, Kind::Internal))
    }

    /// Whether it can be specialised from argument names alone: every type parameter is the element type of a tensor.
    pub fn by_name(&self) -> bool {
        let from_tensor = |g: &Generic| !g.elements().is_empty() && !self.tensors_of(g.ident()).is_empty();
        self.launchable() && self.generics.len() <= 2 && self.generics.iter().all(from_tensor)
    }

    /// Names of the tensor parameters whose element type is `generic`.
    pub fn tensors_of(&self, generic: &Ident) -> Vec<&str> {
        let named = self.params.iter().filter(|p| match &p.kind {
            Kind::Tensor { elem, .. } => matches!(&**elem, Type::Path(t) if t.path.is_ident(generic)),
            _ => false,
        });
        named.map(|p| p.name.as_str()).collect()
    }
}

fn first_parameter(p: &PatType) -> syn::Result<Ident> {
    let is_nc = matches!(&*p.ty, Type::Path(t) if t.path.segments.last().is_some_and(|s| s.ident == "Nc"));
    match &*p.pat {
        Pat::Ident(i) if is_nc => Ok(i.ident.clone()),
        _ => {
            let message = "the first parameter of a kernel is the core\nhelp: write `nc: Nc`";
            Err(syn::Error::new_spanned(p, message))
        }
    }
}

fn parameter(i: usize, p: &PatType, function: &ItemFn) -> syn::Result<Parameter> {
    let inout = p.attrs.iter().find(|a| a.path().is_ident("inout"));
    let (kind, ty) = (kind_of(&p.ty), (*p.ty).clone());
    let kind = match (kind, inout) {
        (Kind::Tensor { elem, optional, .. }, _) => Kind::Tensor { elem, optional, inout: inout.is_some() },
        (_, Some(attribute)) => {
            return Err(syn::Error::new_spanned(
                attribute,
                "`#[inout]` belongs on a parameter of type `Hbm<T>`",
            ));
        }
        (kind, None) => kind,
    };
    let ident = match &*p.pat {
        Pat::Ident(p) => Some(p.ident.clone()),
        _ => None,
    };
    let name = ident.as_ref().map_or_else(|| format!("arg{i}"), |i| i.unraw().to_string());
    let mut mentions = Mentions { function, found: false };
    mentions.visit_type(&ty);
    Ok(Parameter { name, ident, ty, kind, mentions_generic: mentions.found })
}

/// Whether a type mentions a type parameter of the function.
struct Mentions<'f> {
    function: &'f ItemFn,
    found: bool,
}

impl<'a> Visit<'a> for Mentions<'_> {
    fn visit_path(&mut self, path: &'a syn::Path) {
        self.found |= self.function.sig.generics.type_params().any(|g| path.is_ident(&g.ident));
        syn::visit::visit_path(self, path);
    }
}

/// The only generic argument of the path's last segment, if that segment is called `name`.
fn argument_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|s| s.ident == name)?;
    let PathArguments::AngleBracketed(args) = &last.arguments else { return None };
    match args.args.first() {
        Some(GenericArgument::Type(t)) if args.args.len() == 1 => Some(t),
        _ => None,
    }
}

fn kind_of(ty: &Type) -> Kind {
    if let Some(elem) = argument_of(ty, "Hbm") {
        return Kind::Tensor { elem: Box::new(elem.clone()), optional: false, inout: false };
    }
    if let Some(elem) = argument_of(ty, "Option").and_then(|t| argument_of(t, "Hbm")) {
        return Kind::Tensor { elem: Box::new(elem.clone()), optional: true, inout: false };
    }
    let mut internal = Internal(false);
    internal.visit_type(ty);
    if internal.0 { Kind::Internal } else { Kind::Value }
}

/// Finds what only another kernel can pass.
struct Internal(bool);

impl<'a> Visit<'a> for Internal {
    fn visit_type(&mut self, ty: &'a Type) {
        if matches!(
            ty,
            Type::Reference(_) | Type::ImplTrait(_) | Type::TraitObject(_) | Type::BareFn(_) | Type::Ptr(_)
        ) {
            self.0 = true;
        }
        syn::visit::visit_type(self, ty);
    }
    fn visit_path_segment(&mut self, s: &'a syn::PathSegment) {
        if ["Tile", "Acc", "Idx", "Block", "Reg", "Tensor", "Hbm", "Nc"].iter().any(|n| s.ident == n) {
            self.0 = true;
        }
        syn::visit::visit_path_segment(self, s);
    }
}

/// `()`, `Hbm<T>`, or tuples, arrays, options and vectors of them.
fn is_tensors(ty: &Type) -> bool {
    match ty {
        Type::Tuple(t) => t.elems.iter().all(is_tensors),
        Type::Array(a) => is_tensors(&a.elem),
        Type::Paren(p) => is_tensors(&p.elem),
        _ => {
            let inner = argument_of(ty, "Option").or_else(|| argument_of(ty, "Vec"));
            argument_of(ty, "Hbm").is_some() || inner.is_some_and(is_tensors)
        }
    }
}

impl ToTokens for Generic {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let ident = self.ident();
        tokens.extend(quote!(#ident));
    }
}
