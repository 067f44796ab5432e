//! `doorward dev`: a whole world in one directory.

pub mod description;
