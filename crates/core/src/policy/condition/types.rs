//! The types that are checked when an expression is written.

use std::fmt;

/// A type, as far as it is known before anything is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Null,
    Timestamp,
    Duration,
    /// What `type(x)` gives.
    OfTypes,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    /// Known at evaluation only: a claim.
    Dyn,
    /// The elements of `[]`: fits every type.
    Free,
}

impl Type {
    pub(super) fn list(of: Type) -> Type {
        Type::List(Box::new(of))
    }

    pub(super) fn map(key: Type, value: Type) -> Type {
        Type::Map(Box::new(key), Box::new(value))
    }

    /// Whether a value may be of either type.
    pub(super) fn fits(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Dyn | Type::Free, _) | (_, Type::Dyn | Type::Free) => true,
            (Type::List(left), Type::List(right)) => left.fits(right),
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                key.fits(other_key) && value.fits(other_value)
            }
            (left, right) => left == right,
        }
    }

    /// Whether `==` can be true: numbers of all kinds compare, and anything may be null.
    pub(super) fn compares(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Null, _) | (_, Type::Null) => true,
            (Type::List(left), Type::List(right)) => left.compares(right),
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                key.compares(other_key) && value.compares(other_value)
            }
            (left, right) => left.fits(right) || (left.is_number() && right.is_number()),
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Uint | Type::Double)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Type::Dyn | Type::Free)
    }

    /// The type of what may be of either.
    pub(super) fn joined(self, other: Type) -> Type {
        match (self, other) {
            (Type::Free, other) => other,
            (this, Type::Free) => this,
            (Type::List(left), Type::List(right)) => Type::list(left.joined(*right)),
            (this, other) if this == other => this,
            _ => Type::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Null => "null_type",
            Type::Timestamp => "timestamp",
            Type::Duration => "duration",
            Type::OfTypes => "type",
            Type::List(_) => "list",
            Type::Map(..) => "map",
            Type::Dyn | Type::Free => "dyn",
        })
    }
}

/// What a function takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    Type,
    /// A list of strings.
    Strings,
    List,
    Map,
    Any,
}

impl Kind {
    pub(super) fn takes(self, given: &Type) -> bool {
        match (self, given) {
            (Kind::Any, _) | (_, Type::Dyn | Type::Free) => true,
            (Kind::Strings, Type::List(of)) => of.fits(&Type::String),
            (Kind::List, Type::List(_)) | (Kind::Map, Type::Map(..)) => true,
            (kind, given) => kind.gives() == *given,
        }
    }

    pub(super) fn gives(self) -> Type {
        match self {
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Uint => Type::Uint,
            Kind::Double => Type::Double,
            Kind::String => Type::String,
            Kind::Bytes => Type::Bytes,
            Kind::Timestamp => Type::Timestamp,
            Kind::Duration => Type::Duration,
            Kind::Type => Type::OfTypes,
            Kind::Strings => Type::list(Type::String),
            Kind::List => Type::list(Type::Dyn),
            Kind::Map => Type::map(Type::Dyn, Type::Dyn),
            Kind::Any => Type::Dyn,
        }
    }
}
