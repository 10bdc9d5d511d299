//! `#[derive(KernelConfig)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DataEnum, DataStruct, DeriveInput, Expr, Field, Fields, parse2};

pub fn expand(item: TokenStream) -> TokenStream {
    let result = parse2::<DeriveInput>(item).and_then(|input| match &input.data {
        Data::Struct(s) => structure(&input, s),
        Data::Enum(e) => enumeration(&input, e),
        Data::Union(u) => {
            Err(syn::Error::new(u.union_token.span, "a union cannot be the configuration of a kernel"))
        }
    });
    result.unwrap_or_else(|e| e.to_compile_error())
}

fn structure(input: &DeriveInput, s: &DataStruct) -> syn::Result<TokenStream> {
    let Fields::Named(fields) = &s.fields else {
        let message =
            "the configuration of a kernel has named fields\nhelp: they are set by name: `--arg tile_n=512`";
        return Err(syn::Error::new_spanned(&s.fields, message));
    };
    let (ident, (generics, ty_generics, where_clause)) = (&input.ident, input.generics.split_for_impl());
    let attributes = fields.named.iter().map(attributes_of).collect::<syn::Result<Vec<_>>>()?;
    let defaults: Vec<_> = attributes.iter().map(|a| &a.default).collect();
    let idents: Vec<_> = fields.named.iter().filter_map(|f| f.ident.as_ref()).collect();
    let names: Vec<_> = idents.iter().map(|i| i.unraw().to_string()).collect();
    let types: Vec<_> = fields.named.iter().map(|f| &f.ty).collect();
    let docs: Vec<_> = fields.named.iter().map(|f| doc_of(&f.attrs)).collect();
    let shows = idents
        .iter()
        .zip(&types)
        .map(|(ident, ty)| quote_spanned!(ty.span()=> ::nki::config::ConfigValue::show(&defaults.#ident)));
    let tunes = attributes.iter().zip(&types).map(|(a, ty)| {
        let values = a.tune.iter().map(|e| {
            quote_spanned! { e.span()=>
                { let value: #ty = #e; ::nki::config::ConfigValue::show(&value) }
            }
        });
        quote!(::std::vec![#(#values),*])
    });
    let default = defaults.iter().any(|d| d.is_some()).then(|| {
        let values = defaults.iter().map(|d| match d {
            Some(e) => quote!(#e),
            None => quote!(::core::default::Default::default()),
        });
        quote! {
            impl #generics ::core::default::Default for #ident #ty_generics #where_clause {
                fn default() -> Self {
                    Self { #(#idents: #values),* }
                }
            }
        }
    });
    Ok(quote! {
        #default
        impl #generics ::nki::config::KernelConfig for #ident #ty_generics #where_clause {
            fn fields() -> ::std::vec::Vec<::nki::config::Field> {
                let defaults = <Self as ::core::default::Default>::default();
                ::std::vec![#(::nki::config::Field {
                    name: #names,
                    ty: <#types as ::nki::config::ConfigValue>::type_name(),
                    default: #shows,
                    doc: #docs,
                    tune: #tunes,
                }),*]
            }
            fn set(&mut self, name: &str, text: &str) -> ::core::result::Result<(), ::nki::config::SetError> {
                match name {
                    #(#names => {
                        self.#idents = ::nki::config::ConfigValue::parse(text)
                            .map_err(::nki::config::SetError::Value)?;
                        ::core::result::Result::Ok(())
                    })*
                    _ => ::core::result::Result::Err(::nki::config::SetError::Unknown),
                }
            }
        }
    })
}

/// What `#[config(default = .., tune = [..])]` says about a field.
#[derive(Default)]
struct Attributes {
    default: Option<Expr>,
    tune: Vec<Expr>,
}

fn attributes_of(field: &Field) -> syn::Result<Attributes> {
    let mut found = Attributes::default();
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("default") {
                found.default = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("tune") {
                let values: syn::ExprArray = meta.value()?.parse()?;
                found.tune = values.elems.into_iter().collect();
            } else {
                return Err(meta.error("expected `default = ..` or `tune = [..]`"));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn doc_of(attrs: &[syn::Attribute]) -> String {
    let lines = attrs.iter().filter_map(|a| match &a.meta {
        syn::Meta::NameValue(nv) if nv.path.is_ident("doc") => match &nv.value {
            Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(s), .. }) => Some(s.value().trim().to_string()),
            _ => None,
        },
        _ => None,
    });
    lines.take_while(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

fn enumeration(input: &DeriveInput, e: &DataEnum) -> syn::Result<TokenStream> {
    if let Some(v) = e.variants.iter().find(|v| !v.fields.is_empty()) {
        let message =
            "a variant of a configuration value has no fields\nhelp: use a structure with a field per value";
        return Err(syn::Error::new_spanned(v, message));
    }
    let ident = &input.ident;
    let variants: Vec<_> = e.variants.iter().map(|v| &v.ident).collect();
    let names: Vec<_> = variants.iter().map(|v| snake_case(&v.unraw().to_string())).collect();
    let name = ident.unraw().to_string();
    let expected = format!("expected one of {}", names.join(", "));
    Ok(quote! {
        impl ::nki::config::ConfigValue for #ident {
            fn type_name() -> &'static str { #name }
            fn parse(text: &str) -> ::core::result::Result<Self, ::std::string::String> {
                match text {
                    #(#names => ::core::result::Result::Ok(Self::#variants),)*
                    _ => ::core::result::Result::Err(::std::string::String::from(#expected)),
                }
            }
            fn show(&self) -> ::std::string::String {
                ::std::string::String::from(match self { #(Self::#variants => #names,)* })
            }
        }
    })
}

/// `GeluTanh` as `gelu_tanh`: values on a command line are lower case.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn variants_in_lower_case() {
        assert_eq!(super::snake_case("GeluTanh"), "gelu_tanh");
        assert_eq!(super::snake_case("Relu"), "relu");
    }
}
