mod authorization_code;
mod claims;
mod clients;
mod device_code;
mod inspect;
mod jwt_bearer;
mod refresh_token;
