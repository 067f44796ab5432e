mod authorize;
mod sessions;
