//! Service accounts that hold keys, as their owners do.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use doorward_core::account::{ServiceAccount, UniqueId};
use doorward_wire::google_api::CreateKeyRequest;
use doorward_wire::jose::encode_base64url;
use serde_json::{Value, json};

use crate::Stack;

pub(crate) const ROBOT: &str = "robot1@dev-project.iam.gserviceaccount.com";
pub(crate) const OTHER: &str = "robot2@dev-project.iam.gserviceaccount.com";
pub(crate) const DISABLED: &str = "robot3@dev-project.iam.gserviceaccount.com";
pub(crate) const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A key as its owner holds it.
pub(crate) struct OwnedKey {
    pub(crate) id: String,
    pair: RsaKeyPair,
}

impl OwnedKey {
    pub(crate) fn sign(&self, bytes: &str) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes.as_bytes(), &mut signature).unwrap();
        signature
    }

    /// A JWT with any header and claims, which need not be objects.
    pub(crate) fn assert(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
        let input = format!("{}.{}", part(header), part(claims));
        format!("{input}.{}", encode_base64url(&self.sign(&input)))
    }

    pub(crate) fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": "RS256", "kid": self.id})
    }

    pub(crate) fn assert_claims(&self, claims: &Value) -> String {
        self.assert(&self.header(), claims)
    }
}

/// An object with some members replaced, and those that are `null` left out.
pub(crate) fn with(mut object: Value, changes: &Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    object
}

impl Stack {
    pub(crate) async fn create_key(&self, email: &str) -> OwnedKey {
        let made = self.accounts.create_key(&self.admin, "-", email, &CreateKeyRequest::default()).await.unwrap();
        let der = pem::parse(made.file.private_key).unwrap();
        OwnedKey { id: made.key.id, pair: RsaKeyPair::from_pkcs8(der.contents()).unwrap() }
    }

    pub(crate) async fn robot(&self) -> (ServiceAccount, OwnedKey) {
        (self.create_account("robot1").await, self.create_key(ROBOT).await)
    }

    /// An account that is disabled, in force.
    pub(crate) async fn create_disabled(&self) -> ServiceAccount {
        let disabled = ServiceAccount {
            unique_id: UniqueId("133333333333333333333".to_owned()),
            email: DISABLED.parse().unwrap(),
            display_name: String::new(),
            description: String::new(),
            disabled: true,
        };
        assert!(self.store.add_service_account(&disabled).await.unwrap());
        self.publisher.refresh().await.unwrap();
        disabled
    }
}
