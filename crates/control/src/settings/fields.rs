//! `IapSettings` as it is on the wire, and what it means, field by field.
//!
//! A list that is empty is the same as none (proto3): it is inherited. Texts and booleans are in wrappers there, so an empty text and
//! `false` are set.

use doorward_core::resource::ClientId;
use doorward_core::settings::{
    EmailClaim, PropagationOutput, Reauthentication, ReauthenticationMethod, Settings, SettingsError as Refused, paths,
};
use doorward_wire::google_api::iap_settings::{
    self as wire, AccessDeniedPageSettings, AllowedDomainsSettings, ApplicationSettings, AttributePropagationSettings,
    CorsSettings, CsmSettings, DoorwardSettings, GcipSettings, IdentitySource, OutputCredential, ReauthMethod,
    ReauthPolicyType, ReauthSettings, WorkforceIdentitySettings, WorkforceOAuth2,
};
use doorward_wire::google_api::{AccessSettings, IapSettings, OAuthSettings, ProtoDuration};

use super::SettingsError;

/// The setting that is Google's alone.
pub(crate) const POLICY_DELEGATION: &str = "accessSettings.policyDelegationSettings";

/// Reads settings. Whether they work, and whether a value can be, is for [`Settings::check`] to say.
///
/// # Errors
/// A value that is none of the setting's own, half a reauthentication, or a setting that is Google's alone.
pub(crate) fn decode(settings: &IapSettings) -> Result<Settings, SettingsError> {
    let access = settings.access_settings.clone().unwrap_or_default();
    let application = settings.application_settings.clone().unwrap_or_default();
    let ours = settings.doorward_settings.clone().unwrap_or_default();
    if access.policy_delegation_settings.is_some() {
        return Err(Refused::NoEffect { path: POLICY_DELEGATION, reason: "it is for Google's own use" }.into());
    }
    let gcip = access.gcip_settings.unwrap_or_default();
    let oauth = access.oauth_settings.unwrap_or_default();
    let domains = access.allowed_domains_settings.unwrap_or_default();
    let workforce = access.workforce_identity_settings.unwrap_or_default();
    let workforce_client = workforce.oauth2.unwrap_or_default();
    if workforce_client.client_secret.is_some_and(|secret| !secret.0.is_empty()) {
        return Err(Refused::NoEffect { path: paths::WORKFORCE, reason: "workforce pools are not served" }.into());
    }
    let denied = application.access_denied_page_settings.unwrap_or_default();
    let propagation = application.attribute_propagation_settings.unwrap_or_default();
    let clients = list(oauth.programmatic_clients);
    Ok(Settings {
        identity_platform_tenants: list(gcip.tenant_ids),
        login_page: gcip.login_page_uri,
        allow_http_options: access.cors_settings.and_then(|cors| cors.allow_http_options),
        login_hint: oauth.login_hint,
        programmatic_clients: clients.map(|ids| ids.into_iter().map(ClientId).collect()),
        reauthentication: access.reauth_settings.map(reauthentication).transpose()?.flatten(),
        allowed_domains_enabled: domains.enable,
        allowed_domains: list(domains.domains),
        workforce_pools: list(workforce.workforce_pools),
        workforce_client: workforce_client.client_id,
        workforce_only: workforce_only(access.identity_sources)?,
        rctoken_audience: application.csm_settings.and_then(|mesh| mesh.rctoken_aud),
        access_denied_page: denied.access_denied_page_uri,
        generate_troubleshooting_uri: denied.generate_troubleshooting_uri,
        remediation_tokens: denied.remediation_token_generation_enabled,
        cookie_domain: application.cookie_domain,
        propagation_expression: propagation.expression,
        propagation_outputs: outputs(propagation.output_credentials)?,
        propagation_enabled: propagation.enable,
        email_claim: ours.email_claim.map(|claim| match claim {
            wire::EmailClaim::Required => EmailClaim::Required,
            wire::EmailClaim::Optional => EmailClaim::Optional,
        }),
        forward_credential: ours.forward_credential,
    })
}

fn list<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    list.filter(|list| !list.is_empty())
}

fn reauthentication(settings: ReauthSettings) -> Result<Option<Reauthentication>, SettingsError> {
    let method = match settings.method {
        None | Some(ReauthMethod::MethodUnspecified) => None,
        Some(ReauthMethod::Login) => Some(ReauthenticationMethod::Login),
        Some(ReauthMethod::Password) => Some(ReauthenticationMethod::Password),
        Some(ReauthMethod::SecureKey) => Some(ReauthenticationMethod::SecureKey),
        Some(ReauthMethod::EnrolledSecondFactors) => Some(ReauthenticationMethod::EnrolledSecondFactors),
    };
    let minimum = match settings.policy_type {
        None | Some(ReauthPolicyType::PolicyTypeUnspecified) => None,
        Some(ReauthPolicyType::Minimum) => Some(true),
        Some(ReauthPolicyType::Default) => Some(false),
    };
    match (method, settings.max_age, minimum) {
        (None, None, None) => Ok(None),
        (Some(method), Some(max_age), Some(minimum)) => {
            Ok(Some(Reauthentication { method, max_age: max_age.0, minimum }))
        }
        _ => Err(SettingsError::Reauthentication),
    }
}

fn workforce_only(sources: Option<Vec<IdentitySource>>) -> Result<Option<bool>, SettingsError> {
    match sources.as_deref() {
        None | Some([]) => Ok(None),
        Some([IdentitySource::WorkforceIdentityFederation]) => Ok(Some(true)),
        Some(_) => Err(SettingsError::Value(paths::IDENTITY_SOURCES)),
    }
}

fn outputs(outputs: Option<Vec<OutputCredential>>) -> Result<Option<Vec<PropagationOutput>>, SettingsError> {
    let output = |output| match output {
        OutputCredential::Header => Ok(PropagationOutput::Header),
        OutputCredential::Jwt => Ok(PropagationOutput::Jwt),
        OutputCredential::Rctoken => Ok(PropagationOutput::Rctoken),
        OutputCredential::OutputCredentialsUnspecified => Err(SettingsError::Value(paths::PROPAGATION_OUTPUTS)),
    };
    list(outputs).map(|outputs| outputs.into_iter().map(output).collect()).transpose()
}

/// Writes settings, without what is not set.
pub(crate) fn encode(name: &str, settings: &Settings) -> IapSettings {
    let settings = settings.clone();
    let clients = settings.programmatic_clients.map(|clients| clients.into_iter().map(|client| client.0).collect());
    let oauth2 = WorkforceOAuth2 { client_id: settings.workforce_client, ..WorkforceOAuth2::default() };
    let access = AccessSettings {
        gcip_settings: set(GcipSettings {
            tenant_ids: settings.identity_platform_tenants,
            login_page_uri: settings.login_page,
            ..GcipSettings::default()
        }),
        cors_settings: set(CorsSettings { allow_http_options: settings.allow_http_options, ..CorsSettings::default() }),
        oauth_settings: set(OAuthSettings {
            login_hint: settings.login_hint,
            programmatic_clients: clients,
            ..OAuthSettings::default()
        }),
        reauth_settings: settings.reauthentication.map(reauth_settings),
        allowed_domains_settings: set(AllowedDomainsSettings {
            enable: settings.allowed_domains_enabled,
            domains: settings.allowed_domains,
            ..AllowedDomainsSettings::default()
        }),
        workforce_identity_settings: set(WorkforceIdentitySettings {
            workforce_pools: settings.workforce_pools,
            oauth2: set(oauth2),
            ..WorkforceIdentitySettings::default()
        }),
        identity_sources: settings
            .workforce_only
            .filter(|only| *only)
            .map(|_| vec![IdentitySource::WorkforceIdentityFederation]),
        ..AccessSettings::default()
    };
    let outputs = settings.propagation_outputs.map(|outputs| {
        let output = |output| match output {
            PropagationOutput::Header => OutputCredential::Header,
            PropagationOutput::Jwt => OutputCredential::Jwt,
            PropagationOutput::Rctoken => OutputCredential::Rctoken,
        };
        outputs.into_iter().map(output).collect()
    });
    let application = ApplicationSettings {
        csm_settings: set(CsmSettings { rctoken_aud: settings.rctoken_audience, ..CsmSettings::default() }),
        access_denied_page_settings: set(AccessDeniedPageSettings {
            access_denied_page_uri: settings.access_denied_page,
            generate_troubleshooting_uri: settings.generate_troubleshooting_uri,
            remediation_token_generation_enabled: settings.remediation_tokens,
            ..AccessDeniedPageSettings::default()
        }),
        cookie_domain: settings.cookie_domain,
        attribute_propagation_settings: set(AttributePropagationSettings {
            expression: settings.propagation_expression,
            output_credentials: outputs,
            enable: settings.propagation_enabled,
            ..AttributePropagationSettings::default()
        }),
        ..ApplicationSettings::default()
    };
    let ours = DoorwardSettings {
        email_claim: settings.email_claim.map(|claim| match claim {
            EmailClaim::Required => wire::EmailClaim::Required,
            EmailClaim::Optional => wire::EmailClaim::Optional,
        }),
        forward_credential: settings.forward_credential,
        ..DoorwardSettings::default()
    };
    IapSettings {
        name: name.to_owned(),
        access_settings: set(access),
        application_settings: set(application),
        doorward_settings: set(ours),
        ..IapSettings::default()
    }
}

fn reauth_settings(it: Reauthentication) -> ReauthSettings {
    let method = match it.method {
        ReauthenticationMethod::Login => ReauthMethod::Login,
        ReauthenticationMethod::Password => ReauthMethod::Password,
        ReauthenticationMethod::SecureKey => ReauthMethod::SecureKey,
        ReauthenticationMethod::EnrolledSecondFactors => ReauthMethod::EnrolledSecondFactors,
    };
    let policy_type = if it.minimum { ReauthPolicyType::Minimum } else { ReauthPolicyType::Default };
    ReauthSettings {
        method: Some(method),
        max_age: Some(ProtoDuration(it.max_age)),
        policy_type: Some(policy_type),
        ..ReauthSettings::default()
    }
}

/// A message in which something is set.
fn set<T: Default + PartialEq>(message: T) -> Option<T> {
    Some(message).filter(|message| *message != T::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: &Value) -> Result<Settings, SettingsError> {
        decode(&serde_json::from_value(value.clone()).unwrap())
    }

    #[test]
    fn every_setting_that_has_a_meaning_comes_back() {
        let whole = json!({
            "name": "n",
            "accessSettings": {
                "gcipSettings": {"tenantIds": ["t1"], "loginPageUri": "https://login.example.com/?apiKey=k"},
                "corsSettings": {"allowHttpOptions": true},
                "oauthSettings": {"loginHint": "example.com", "programmaticClients": ["c"]},
                "reauthSettings": {"method": "ENROLLED_SECOND_FACTORS", "maxAge": "305s", "policyType": "MINIMUM"},
                "allowedDomainsSettings": {"enable": false, "domains": ["*.example.com"]},
                "workforceIdentitySettings": {"workforcePools": ["locations/global/workforcePools/p"], "oauth2": {"clientId": "i"}},
                "identitySources": ["WORKFORCE_IDENTITY_FEDERATION"],
            },
            "applicationSettings": {
                "csmSettings": {"rctokenAud": "a"},
                "accessDeniedPageSettings": {
                    "accessDeniedPageUri": "https://e.example.com", "generateTroubleshootingUri": false,
                    "remediationTokenGenerationEnabled": true,
                },
                "cookieDomain": "",
                "attributePropagationSettings": {"expression": "x", "outputCredentials": ["HEADER", "JWT", "RCTOKEN"], "enable": true},
            },
            "doorwardSettings": {"emailClaim": "OPTIONAL", "forwardCredential": false},
        });
        let settings = read(&whole).unwrap();
        assert_eq!(serde_json::to_value(encode("n", &settings)).unwrap(), whole);
        assert_eq!(serde_json::to_value(encode("n", &Settings::default())).unwrap(), json!({"name": "n"}));
    }

    #[test]
    fn what_is_half_said_or_not_a_value_is_refused_and_what_says_nothing_is_not_set() {
        let reauth = |value: Value| json!({"accessSettings": {"reauthSettings": value}});
        #[rustfmt::skip]
        let cases = [
            (json!({"accessSettings": {"oauthSettings": {"programmaticClients": []}}}),              Ok(Settings::default())),
            (json!({"accessSettings": {"identitySources": []}}),                                     Ok(Settings::default())),
            (reauth(json!({})),                                                                      Ok(Settings::default())),
            (reauth(json!({"method": "METHOD_UNSPECIFIED", "policyType": "POLICY_TYPE_UNSPECIFIED"})), Ok(Settings::default())),
            (reauth(json!({"method": "LOGIN"})),                                                     Err("is set as a whole")),
            (reauth(json!({"maxAge": "5s", "policyType": "DEFAULT"})),                               Err("is set as a whole")),
            (json!({"accessSettings": {"identitySources": ["IDENTITY_SOURCE_UNSPECIFIED"]}}),        Err("accessSettings.identitySources has a value")),
            (json!({"applicationSettings": {"attributePropagationSettings": {"outputCredentials": ["OUTPUT_CREDENTIALS_UNSPECIFIED"]}}}), Err("outputCredentials has a value")),
            (json!({"accessSettings": {"policyDelegationSettings": {}}}),                            Err("it is for Google's own use")),
            (json!({"accessSettings": {"workforceIdentitySettings": {"oauth2": {"clientSecret": "s"}}}}), Err("workforce pools are not served")),
        ];
        for (sent, expected) in cases {
            match (read(&sent), expected) {
                (Ok(settings), Ok(expected)) => assert_eq!(settings, expected, "{sent}"),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{sent} {error}"),
                (outcome, expected) => panic!("{sent}: {outcome:?}, expected {expected:?}"),
            }
        }
    }
}
