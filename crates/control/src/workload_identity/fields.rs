//! Which fields a change is about.
//!
//! Spec: <https://google.aip.dev/134>, "Update masks".

use doorward_wire::google_api::{Oidc, WorkloadIdentityPool, WorkloadIdentityPoolProvider};

use super::{Result, WorkloadIdentityError};

/// What of a pool is changed.
#[derive(Debug, Default)]
pub(super) struct PoolFields {
    display_name: bool,
    description: bool,
    disabled: bool,
}

impl PoolFields {
    pub(super) fn of(mask: Option<&str>, given: &WorkloadIdentityPool) -> Result<Self> {
        let Some(mask) = mask.filter(|mask| !mask.is_empty()) else {
            // What is not set stays, so a pool is not enabled by saying nothing of it.
            let display_name = !given.display_name.is_empty();
            let description = !given.description.is_empty();
            return Ok(PoolFields { display_name, description, disabled: given.disabled });
        };
        let mut fields = PoolFields::default();
        for path in mask.split(',').map(str::trim) {
            match path {
                "*" => fields = PoolFields { display_name: true, description: true, disabled: true },
                "displayName" | "display_name" => fields.display_name = true,
                "description" => fields.description = true,
                "disabled" => fields.disabled = true,
                other => return Err(WorkloadIdentityError::Mask(other.to_owned())),
            }
        }
        Ok(fields)
    }

    pub(super) fn apply(&self, pool: &mut WorkloadIdentityPool, given: WorkloadIdentityPool) {
        take(self.display_name, &mut pool.display_name, given.display_name);
        take(self.description, &mut pool.description, given.description);
        take(self.disabled, &mut pool.disabled, given.disabled);
    }
}

/// What of a provider is changed.
#[derive(Debug, Default)]
pub(super) struct ProviderFields {
    display_name: bool,
    description: bool,
    disabled: bool,
    attribute_mapping: bool,
    attribute_condition: bool,
    oidc: OidcFields,
}

/// What of a provider's issuer is changed.
#[derive(Debug, Default)]
struct OidcFields {
    issuer_uri: bool,
    allowed_audiences: bool,
    jwks_json: bool,
    insecure_loopback: bool,
}

impl OidcFields {
    const ALL: OidcFields =
        OidcFields { issuer_uri: true, allowed_audiences: true, jwks_json: true, insecure_loopback: true };

    fn set_in(given: &Oidc) -> Self {
        OidcFields {
            issuer_uri: !given.issuer_uri.is_empty(),
            allowed_audiences: !given.allowed_audiences.is_empty(),
            jwks_json: given.jwks_json.is_some(),
            insecure_loopback: given.insecure_loopback,
        }
    }

    fn apply(&self, oidc: &mut Oidc, given: Oidc) {
        take(self.issuer_uri, &mut oidc.issuer_uri, given.issuer_uri);
        take(self.allowed_audiences, &mut oidc.allowed_audiences, given.allowed_audiences);
        take(self.jwks_json, &mut oidc.jwks_json, given.jwks_json);
        take(self.insecure_loopback, &mut oidc.insecure_loopback, given.insecure_loopback);
    }
}

impl ProviderFields {
    const ALL: ProviderFields = ProviderFields {
        display_name: true,
        description: true,
        disabled: true,
        attribute_mapping: true,
        attribute_condition: true,
        oidc: OidcFields::ALL,
    };

    pub(super) fn of(mask: Option<&str>, given: &WorkloadIdentityPoolProvider) -> Result<Self> {
        let Some(mask) = mask.filter(|mask| !mask.is_empty()) else {
            return Ok(ProviderFields {
                display_name: !given.display_name.is_empty(),
                description: !given.description.is_empty(),
                disabled: given.disabled,
                attribute_mapping: !given.attribute_mapping.is_empty(),
                attribute_condition: given.attribute_condition.is_some(),
                oidc: given.oidc.as_ref().map(OidcFields::set_in).unwrap_or_default(),
            });
        };
        let mut fields = ProviderFields::default();
        for path in mask.split(',').map(str::trim) {
            match path {
                "*" => fields = ProviderFields::ALL,
                "displayName" | "display_name" => fields.display_name = true,
                "description" => fields.description = true,
                "disabled" => fields.disabled = true,
                "attributeMapping" | "attribute_mapping" => fields.attribute_mapping = true,
                "attributeCondition" | "attribute_condition" => fields.attribute_condition = true,
                "oidc" => fields.oidc = OidcFields::ALL,
                "oidc.issuerUri" | "oidc.issuer_uri" => fields.oidc.issuer_uri = true,
                "oidc.allowedAudiences" | "oidc.allowed_audiences" => fields.oidc.allowed_audiences = true,
                "oidc.jwksJson" | "oidc.jwks_json" => fields.oidc.jwks_json = true,
                "oidc.insecureLoopback" | "oidc.insecure_loopback" => fields.oidc.insecure_loopback = true,
                other => return Err(WorkloadIdentityError::Mask(other.to_owned())),
            }
        }
        Ok(fields)
    }

    pub(super) fn apply(&self, provider: &mut WorkloadIdentityPoolProvider, given: WorkloadIdentityPoolProvider) {
        take(self.display_name, &mut provider.display_name, given.display_name);
        take(self.description, &mut provider.description, given.description);
        take(self.disabled, &mut provider.disabled, given.disabled);
        take(self.attribute_mapping, &mut provider.attribute_mapping, given.attribute_mapping);
        take(self.attribute_condition, &mut provider.attribute_condition, given.attribute_condition);
        self.oidc.apply(provider.oidc.get_or_insert_default(), given.oidc.unwrap_or_default());
    }
}

fn take<T>(named: bool, field: &mut T, given: T) {
    if named {
        *field = given;
    }
}
