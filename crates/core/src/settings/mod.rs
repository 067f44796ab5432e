//! IAP settings: what they mean, which of them work, and how they are inherited, field by field: the nearest resource that sets one
//! decides it.
//!
//! Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/IapSettings>

mod propagation;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use propagation::{
    Attribute, CallerAttributes, HEADER_PREFIX, IAP_ATTRIBUTES, MAX_ATTRIBUTES, PropagatedAttribute, Propagation,
    PropagationError,
};

use crate::policy::condition::CompileError;
use crate::resource::{ClientId, Host, Project, Resource};

/// The most programmatic clients of a resource.
pub const MAX_CLIENTS: usize = 500;

/// The longest client id or audience, in bytes.
pub const MAX_ID: usize = 255;

/// The longest address of a page, in bytes.
pub const MAX_URI: usize = 2048;

/// Settings of one resource. What is `None` is inherited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `accessSettings.gcipSettings.tenantIds`: who signs in at Identity Platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_platform_tenants: Option<Vec<String>>,
    /// `accessSettings.gcipSettings.loginPageUri`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_page: Option<String>,
    /// `accessSettings.corsSettings.allowHttpOptions`: `OPTIONS` requests pass without a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_http_options: Option<bool>,
    /// `accessSettings.oauthSettings.loginHint`: the domain that is offered at sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// `accessSettings.oauthSettings.programmaticClients`: clients whose own ID tokens are accepted, beside those for the
    /// application's client.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/sharing-oauth-clients>
    #[serde(skip_serializing_if = "Option::is_none", with = "client_ids")]
    pub programmatic_clients: Option<Vec<ClientId>>,
    /// `accessSettings.reauthSettings`: when a person must sign in again. One field: its parts are set together only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reauthentication: Option<Reauthentication>,
    /// `accessSettings.allowedDomainsSettings.enable`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_domains_enabled: Option<bool>,
    /// `accessSettings.allowedDomainsSettings.domains`: hosts that people may be sent back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_domains: Option<Vec<String>>,
    /// `accessSettings.workforceIdentitySettings.workforcePools`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workforce_pools: Option<Vec<String>>,
    /// `accessSettings.workforceIdentitySettings.oauth2.clientId`. Its secret is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workforce_client: Option<String>,
    /// `accessSettings.identitySources` names the workforce pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workforce_only: Option<bool>,
    /// `applicationSettings.csmSettings.rctokenAud`: `aud` of the token for the service mesh, which is sent if this is not empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rctoken_audience: Option<String>,
    /// `applicationSettings.accessDeniedPageSettings.accessDeniedPageUri`: where somebody who is refused is sent. Empty: our own
    /// page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_denied_page: Option<String>,
    /// `applicationSettings.accessDeniedPageSettings.generateTroubleshootingUri`: they are given an address that explains the
    /// refusal to those who may read policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate_troubleshooting_uri: Option<bool>,
    /// `applicationSettings.accessDeniedPageSettings.remediationTokenGenerationEnabled`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediation_tokens: Option<bool>,
    /// `applicationSettings.cookieDomain`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_domain: Option<String>,
    /// `applicationSettings.attributePropagationSettings.expression`. Empty: nothing is propagated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_expression: Option<String>,
    /// `applicationSettings.attributePropagationSettings.outputCredentials`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_outputs: Option<Vec<PropagationOutput>>,
    /// `applicationSettings.attributePropagationSettings.enable`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_enabled: Option<bool>,
    /// `doorwardSettings.emailClaim`, ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_claim: Option<EmailClaim>,
    /// `doorwardSettings.forwardCredential`, ours: the application is sent the credential with which its caller came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_credential: Option<bool>,
}

/// Client ids as they are stored: as texts.
mod client_ids {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::resource::ClientId;

    pub(super) fn serialize<S: Serializer>(ids: &Option<Vec<ClientId>>, to: S) -> Result<S::Ok, S::Error> {
        let ids = ids.as_ref().map(|ids| ids.iter().map(|id| id.0.as_str()).collect::<Vec<_>>());
        ids.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<ClientId>>, D::Error> {
        let ids = Option::<Vec<String>>::deserialize(from)?;
        Ok(ids.map(|ids| ids.into_iter().map(ClientId).collect()))
    }
}

/// When a person must sign in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reauthentication {
    /// How.
    pub method: ReauthenticationMethod,
    /// How long after the last time.
    pub max_age: Duration,
    /// Resources below may only be stricter. Otherwise they may be anything.
    pub minimum: bool,
}

/// How a person proves themselves again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReauthenticationMethod {
    /// By signing in.
    Login,
    /// By the password.
    Password,
    /// By a security key.
    SecureKey,
    /// By any second factor that they have.
    EnrolledSecondFactors,
}

/// Where attributes are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PropagationOutput {
    /// Headers.
    Header,
    /// `additional_claims` of the signed header.
    Jwt,
    /// `additional_claims` of the token for the service mesh, if one is sent.
    Rctoken,
}

/// What becomes of an ID token of our issuer without `email`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailClaim {
    /// It is refused, as Google's IAP does.
    Required,
    /// It is accepted.
    Optional,
}

/// Why settings are refused when they are written. A path is one of `IapSettings`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A setting that has no effect: whoever set it would believe in a protection that is not there.
    #[error("{path} has no effect here: {reason}")]
    NoEffect {
        /// The setting.
        path: &'static str,
        /// What does not happen.
        reason: &'static str,
    },
    /// A list is too long.
    #[error("{path} may have {limit} entries")]
    TooMany {
        /// The setting.
        path: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Not a client id: 1 to 255 visible ASCII characters, once.
    #[error("{path}: {value:?} is no client id, or there twice")]
    Client {
        /// The setting.
        path: &'static str,
        /// What was given.
        value: String,
    },
    /// Not an audience: at most 255 visible ASCII characters.
    #[error("{path}: an audience has at most {MAX_ID} visible characters")]
    Audience {
        /// The setting.
        path: &'static str,
    },
    /// Not an absolute https address without user information.
    #[error("{path}: {value:?} is no address of a page, which begins with https://")]
    Page {
        /// The setting.
        path: &'static str,
        /// What was given.
        value: String,
    },
    /// The expression does not compile.
    #[error("{path}: {error}")]
    Expression {
        /// The setting.
        path: &'static str,
        /// Why, and where.
        error: CompileError,
    },
    /// An output is named twice.
    #[error("{path} has the same entry twice")]
    Twice {
        /// The setting.
        path: &'static str,
    },
}

/// The settings' paths in `IapSettings`.
pub mod paths {
    /// `gcipSettings`
    pub const IDENTITY_PLATFORM: &str = "accessSettings.gcipSettings";
    /// `allowHttpOptions`
    pub const ALLOW_HTTP_OPTIONS: &str = "accessSettings.corsSettings.allowHttpOptions";
    /// `loginHint`
    pub const LOGIN_HINT: &str = "accessSettings.oauthSettings.loginHint";
    /// `programmaticClients`
    pub const PROGRAMMATIC_CLIENTS: &str = "accessSettings.oauthSettings.programmaticClients";
    /// `reauthSettings`
    pub const REAUTHENTICATION: &str = "accessSettings.reauthSettings";
    /// `allowedDomainsSettings`
    pub const ALLOWED_DOMAINS: &str = "accessSettings.allowedDomainsSettings";
    /// `workforceIdentitySettings`
    pub const WORKFORCE: &str = "accessSettings.workforceIdentitySettings";
    /// `identitySources`
    pub const IDENTITY_SOURCES: &str = "accessSettings.identitySources";
    /// `rctokenAud`
    pub const RCTOKEN_AUDIENCE: &str = "applicationSettings.csmSettings.rctokenAud";
    /// `accessDeniedPageUri`
    pub const ACCESS_DENIED_PAGE: &str = "applicationSettings.accessDeniedPageSettings.accessDeniedPageUri";
    /// `generateTroubleshootingUri`
    pub const TROUBLESHOOTING_URI: &str = "applicationSettings.accessDeniedPageSettings.generateTroubleshootingUri";
    /// `remediationTokenGenerationEnabled`
    pub const REMEDIATION_TOKENS: &str =
        "applicationSettings.accessDeniedPageSettings.remediationTokenGenerationEnabled";
    /// `cookieDomain`
    pub const COOKIE_DOMAIN: &str = "applicationSettings.cookieDomain";
    /// `expression`
    pub const PROPAGATION_EXPRESSION: &str = "applicationSettings.attributePropagationSettings.expression";
    /// `outputCredentials`
    pub const PROPAGATION_OUTPUTS: &str = "applicationSettings.attributePropagationSettings.outputCredentials";
    /// `enable`
    pub const PROPAGATION_ENABLED: &str = "applicationSettings.attributePropagationSettings.enable";
    /// Ours.
    pub const EMAIL_CLAIM: &str = "doorwardSettings.emailClaim";
    /// Ours.
    pub const FORWARD_CREDENTIAL: &str = "doorwardSettings.forwardCredential";
}

impl Settings {
    /// Checks settings that are to be written.
    ///
    /// # Errors
    /// [`SettingsError`], the first: a setting that has no effect and asks for something, or a value that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        use SettingsError as E;
        if let Some((path, reason)) = self.without_effect() {
            return Err(E::NoEffect { path, reason });
        }
        if let Some(clients) = &self.programmatic_clients {
            let path = paths::PROGRAMMATIC_CLIENTS;
            if clients.len() > MAX_CLIENTS {
                return Err(E::TooMany { path, limit: MAX_CLIENTS });
            }
            for (nth, client) in clients.iter().enumerate() {
                if client.0.is_empty() || !is_visible(&client.0) || clients.iter().take(nth).any(|seen| seen == client)
                {
                    return Err(E::Client { path, value: client.0.clone() });
                }
            }
        }
        if self.rctoken_audience.as_ref().is_some_and(|audience| !is_visible(audience)) {
            return Err(E::Audience { path: paths::RCTOKEN_AUDIENCE });
        }
        if let Some(page) = self.access_denied_page.as_ref().filter(|page| !page.is_empty() && !is_https_page(page)) {
            return Err(E::Page { path: paths::ACCESS_DENIED_PAGE, value: page.clone() });
        }
        if let Some(expression) = self.propagation_expression.as_ref().filter(|source| !source.is_empty()) {
            let path = paths::PROPAGATION_EXPRESSION;
            Propagation::compile(expression).map_err(|error| E::Expression { path, error })?;
        }
        let outputs = self.propagation_outputs.as_deref().unwrap_or_default();
        if outputs.iter().enumerate().any(|(nth, output)| outputs.iter().take(nth).any(|seen| seen == output)) {
            return Err(E::Twice { path: paths::PROPAGATION_OUTPUTS });
        }
        Ok(())
    }

    /// The first setting that asks for what we do not do, and what does not happen. A value that asks for nothing, such as `false`
    /// or an empty list, is kept: it may have been read from Google.
    fn without_effect(&self) -> Option<(&'static str, &'static str)> {
        const OPTIONS: &str = "OPTIONS requests are checked like all others";
        const DOMAINS: &str = "an application is reached only at the hosts that are registered for it";
        const SIGN_IN: &str = "no hint is sent along to the page for sign-in";
        const AGE: &str = "how long ago somebody signed in is not checked";
        const COOKIE: &str = "every cookie is for its own host alone";
        const IDENTITY_PLATFORM: &str = "nobody signs in at Identity Platform";
        const WORKFORCE: &str = "workforce pools are not served";
        const REMEDIATION: &str = "no service of ours takes remediation tokens";
        let list = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        #[rustfmt::skip]
        let asked = [
            (list(&self.identity_platform_tenants) || text(&self.login_page), paths::IDENTITY_PLATFORM, IDENTITY_PLATFORM),
            (self.allow_http_options == Some(true),         paths::ALLOW_HTTP_OPTIONS,  OPTIONS),
            (text(&self.login_hint),                        paths::LOGIN_HINT,          SIGN_IN),
            (self.reauthentication.is_some(),               paths::REAUTHENTICATION,    AGE),
            (self.allowed_domains_enabled == Some(true) || list(&self.allowed_domains), paths::ALLOWED_DOMAINS, DOMAINS),
            (list(&self.workforce_pools) || text(&self.workforce_client),        paths::WORKFORCE,           WORKFORCE),
            (self.workforce_only == Some(true),             paths::IDENTITY_SOURCES,    WORKFORCE),
            (self.remediation_tokens == Some(true),         paths::REMEDIATION_TOKENS,  REMEDIATION),
            (text(&self.cookie_domain),                     paths::COOKIE_DOMAIN,       COOKIE),
        ];
        asked.into_iter().find(|(asked, ..)| *asked).map(|(_, path, reason)| (path, reason))
    }
}

fn is_visible(text: &str) -> bool {
    text.len() <= MAX_ID && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An absolute address of a page over TLS. It is sent in a header of ours, so it is ASCII without spaces.
fn is_https_page(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>`{}|^".contains(&byte));
    text.len() <= MAX_URI && clean && Host::parse(authority).is_ok()
}

/// A value that is in force at a resource, and the resource that sets it; `None` where it is the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub from: Option<Resource>,
}

/// What holds where nothing is set. It differs between modes of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// See [`EmailClaim`].
    pub email_claim: EmailClaim,
    /// See [`Settings::forward_credential`]. False in `serve`.
    pub forward_credential: bool,
}

/// The settings that are in force at a resource, of those that work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSettings {
    /// See [`Settings::programmatic_clients`].
    pub programmatic_clients: Effective<Vec<ClientId>>,
    /// See [`Settings::access_denied_page`].
    pub access_denied_page: Effective<Option<String>>,
    /// See [`Settings::generate_troubleshooting_uri`].
    pub generate_troubleshooting_uri: Effective<bool>,
    /// See [`Settings::rctoken_audience`].
    pub rctoken_audience: Effective<Option<String>>,
    /// The expression, compiled. `None`: there is none, or it does not compile (it did when it was written).
    pub propagation: Effective<Option<Propagation>>,
    /// See [`Settings::propagation_outputs`].
    pub propagation_outputs: Effective<Vec<PropagationOutput>>,
    /// See [`Settings::propagation_enabled`].
    pub propagation_enabled: Effective<bool>,
    /// See [`Settings::email_claim`].
    pub email_claim: Effective<EmailClaim>,
    /// See [`Settings::forward_credential`].
    pub forward_credential: Effective<bool>,
}

/// The clients that are accepted at a resource: those of the nearest node of its lineage that sets any.
pub fn programmatic_clients<'a>(
    resource: &Resource,
    project: &Project,
    settings: impl Fn(&Resource) -> Option<&'a Settings>,
) -> Vec<ClientId> {
    let lineage = resource.lineage(project);
    let nearest = lineage.iter().find_map(|node| settings(node)?.programmatic_clients.as_ref());
    nearest.cloned().unwrap_or_default()
}

/// A setting in force, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce<'a> {
    /// Its path in `IapSettings`.
    pub path: &'static str,
    /// Its value, as JSON.
    pub value: String,
    /// Where it was set; `None` where it is the default.
    pub from: Option<&'a Resource>,
}

impl EffectiveSettings {
    /// The settings at the first of these nodes, which are in the order from it upwards; a node without settings may be left
    /// out. Compiles the expression: for a snapshot, not for a request.
    pub fn of(lineage: &[(Resource, &Settings)], defaults: Defaults) -> EffectiveSettings {
        let text = |text: &Option<String>| text.clone().map(|text| Some(text).filter(|text| !text.is_empty()));
        let expression = nearest(lineage, |settings| text(&settings.propagation_expression), None);
        EffectiveSettings {
            programmatic_clients: nearest(lineage, |settings| settings.programmatic_clients.clone(), Vec::new()),
            access_denied_page: nearest(lineage, |settings| text(&settings.access_denied_page), None),
            generate_troubleshooting_uri: nearest(lineage, |settings| settings.generate_troubleshooting_uri, false),
            rctoken_audience: nearest(lineage, |settings| text(&settings.rctoken_audience), None),
            propagation: Effective {
                value: expression.value.and_then(|source| Propagation::compile(&source).ok()),
                from: expression.from,
            },
            propagation_outputs: nearest(lineage, |settings| settings.propagation_outputs.clone(), Vec::new()),
            propagation_enabled: nearest(lineage, |settings| settings.propagation_enabled, false),
            email_claim: nearest(lineage, |settings| settings.email_claim, defaults.email_claim),
            forward_credential: nearest(lineage, |settings| settings.forward_credential, defaults.forward_credential),
        }
    }

    /// The settings at `resource`, with those that are stored for it and what it lies in. See [`EffectiveSettings::of`].
    pub fn at<'s>(
        resource: &Resource,
        project: &Project,
        stored: impl Fn(&Resource) -> Option<&'s Settings>,
        defaults: Defaults,
    ) -> EffectiveSettings {
        let lineage = resource.lineage(project).into_iter();
        let lineage: Vec<_> = lineage.filter_map(|node| stored(&node).map(|settings| (node, settings))).collect();
        EffectiveSettings::of(&lineage, defaults)
    }

    /// The expression, if attributes are put there.
    pub fn propagates_to(&self, output: PropagationOutput) -> Option<&Propagation> {
        let wanted = self.propagation_enabled.value && self.propagation_outputs.value.contains(&output);
        self.propagation.value.as_ref().filter(|_| wanted)
    }

    /// The names of headers, in lower case, that these settings can set beside those with [`HEADER_PREFIX`], whether propagation
    /// is enabled or not: an application that trusts one must never get it from a caller.
    pub fn propagated_header_names(&self) -> impl Iterator<Item = &str> {
        self.propagation.value.iter().flat_map(Propagation::strict_header_names)
    }

    /// All of them, for people.
    pub fn in_force(&self) -> Vec<InForce<'_>> {
        let clients: Vec<&str> = self.programmatic_clients.value.iter().map(|client| client.0.as_str()).collect();
        let expression = self.propagation.value.as_ref().map(Propagation::source);
        #[rustfmt::skip]
        let all = vec![
            in_force(paths::PROGRAMMATIC_CLIENTS,   clients,                                    &self.programmatic_clients),
            in_force(paths::RCTOKEN_AUDIENCE,       &self.rctoken_audience.value,               &self.rctoken_audience),
            in_force(paths::ACCESS_DENIED_PAGE,     &self.access_denied_page.value,             &self.access_denied_page),
            in_force(paths::TROUBLESHOOTING_URI,    self.generate_troubleshooting_uri.value,    &self.generate_troubleshooting_uri),
            in_force(paths::PROPAGATION_EXPRESSION, expression,                                 &self.propagation),
            in_force(paths::PROPAGATION_OUTPUTS,    &self.propagation_outputs.value,            &self.propagation_outputs),
            in_force(paths::PROPAGATION_ENABLED,    self.propagation_enabled.value,             &self.propagation_enabled),
            in_force(paths::EMAIL_CLAIM,            self.email_claim.value,                     &self.email_claim),
            in_force(paths::FORWARD_CREDENTIAL,     self.forward_credential.value,              &self.forward_credential),
        ];
        all
    }
}

fn in_force<'a, T>(path: &'static str, value: impl Serialize, effective: &'a Effective<T>) -> InForce<'a> {
    let value = serde_json::to_value(value).unwrap_or_default().to_string();
    InForce { path, value, from: effective.from.as_ref() }
}

fn nearest<T>(lineage: &[(Resource, &Settings)], field: impl Fn(&Settings) -> Option<T>, default: T) -> Effective<T> {
    let found = lineage.iter().find_map(|(resource, settings)| Some((resource, field(settings)?)));
    match found {
        Some((resource, value)) => Effective { value, from: Some(resource.clone()) },
        None => Effective { value: default, from: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults { email_claim: EmailClaim::Required, forward_credential: false };

    fn clients(names: &[&str]) -> Option<Vec<ClientId>> {
        Some(names.iter().map(|name| ClientId((*name).to_owned())).collect())
    }

    #[test]
    fn each_setting_comes_from_the_nearest_node_that_sets_it() {
        let own = Settings {
            access_denied_page: Some(String::new()),
            propagation_enabled: Some(true),
            programmatic_clients: clients(&[]),
            ..Settings::default()
        };
        let middle = Settings {
            access_denied_page: Some("https://help.test/".to_owned()),
            propagation_outputs: Some(vec![PropagationOutput::Header]),
            forward_credential: Some(true),
            programmatic_clients: clients(&["web"]),
            ..Settings::default()
        };
        let top = Settings {
            propagation_expression: Some(
                "attributes.iap_attributes.selectByName('user_id').emitAs('X-Id').strict()".to_owned(),
            ),
            propagation_outputs: Some(vec![PropagationOutput::Jwt]),
            rctoken_audience: Some("mesh".to_owned()),
            programmatic_clients: clients(&["project"]),
            ..Settings::default()
        };
        let folder = Resource::Folder("7".to_owned());
        let lineage = [(Resource::Web, &own), (Resource::Project, &middle), (folder, &top)];
        let picture = |lineage: &[(Resource, &Settings)]| {
            let settings = EffectiveSettings::of(lineage, DEFAULTS);
            let lines = settings.in_force().into_iter().map(|InForce { path, value, from }| {
                let place = lineage.iter().position(|(resource, _)| Some(resource) == from);
                let name = path.rsplit('.').next().unwrap_or_default();
                format!("{name} = {value} from {}", place.map_or("default".to_owned(), |place| place.to_string()))
            });
            lines.collect::<Vec<_>>()
        };
        #[rustfmt::skip]
        assert_eq!(picture(&lineage), [
            "programmaticClients = [] from 0",
            "rctokenAud = \"mesh\" from 2",
            "accessDeniedPageUri = null from 0",
            "generateTroubleshootingUri = false from default",
            "expression = \"attributes.iap_attributes.selectByName('user_id').emitAs('X-Id').strict()\" from 2",
            "outputCredentials = [\"header\"] from 1",
            "enable = true from 0",
            "emailClaim = \"required\" from default",
            "forwardCredential = true from 1",
        ]);
        let settings = EffectiveSettings::of(&lineage, DEFAULTS);
        assert!(settings.propagates_to(PropagationOutput::Header).is_some());
        assert!(settings.propagates_to(PropagationOutput::Jwt).is_none());
        let above = EffectiveSettings::of(&lineage[1..], DEFAULTS);
        assert_eq!(above.programmatic_clients.value, clients(&["web"]).unwrap());
        assert!(above.propagates_to(PropagationOutput::Header).is_none());
        assert_eq!(above.propagated_header_names().collect::<Vec<_>>(), ["x-id"]);
        assert_eq!(EffectiveSettings::of(&[], DEFAULTS).propagated_header_names().count(), 0);
    }

    #[test]
    fn settings_that_do_not_work_or_cannot_be_are_refused_and_those_that_ask_for_nothing_are_kept() {
        type Case = (fn(&mut Settings), &'static str);
        let set = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().map_or_else(|error| error.to_string(), |()| "ok".to_owned())
        };
        #[rustfmt::skip]
        let cases: Vec<Case> = vec![
            (|_| {},                                                            "ok"),
            (|s| s.identity_platform_tenants = Some(vec!["t".into()]),          "accessSettings.gcipSettings has no effect here: nobody signs in at Identity Platform"),
            (|s| s.login_page = Some("https://a.test".into()),                  "accessSettings.gcipSettings has no effect here: nobody signs in at Identity Platform"),
            (|s| s.allow_http_options = Some(true),                             "accessSettings.corsSettings.allowHttpOptions has no effect here: OPTIONS requests are checked like all others"),
            (|s| s.allow_http_options = Some(false),                            "ok"),
            (|s| s.login_hint = Some("example.com".into()),                     "accessSettings.oauthSettings.loginHint has no effect here: no hint is sent along to the page for sign-in"),
            (|s| s.login_hint = Some(String::new()),                            "ok"),
            (|s| s.reauthentication = Some(Reauthentication { method: ReauthenticationMethod::Login, max_age: Duration::from_secs(305), minimum: true }), "accessSettings.reauthSettings has no effect here: how long ago somebody signed in is not checked"),
            (|s| s.allowed_domains_enabled = Some(true),                        "accessSettings.allowedDomainsSettings has no effect here: an application is reached only at the hosts that are registered for it"),
            (|s| s.allowed_domains = Some(vec!["a.test".into()]),               "accessSettings.allowedDomainsSettings has no effect here: an application is reached only at the hosts that are registered for it"),
            (|s| s.workforce_pools = Some(vec!["p".into()]),                    "accessSettings.workforceIdentitySettings has no effect here: workforce pools are not served"),
            (|s| s.workforce_client = Some("c".into()),               "accessSettings.workforceIdentitySettings has no effect here: workforce pools are not served"),
            (|s| s.workforce_only = Some(true),                                 "accessSettings.identitySources has no effect here: workforce pools are not served"),
            (|s| s.remediation_tokens = Some(true),                             "applicationSettings.accessDeniedPageSettings.remediationTokenGenerationEnabled has no effect here: no service of ours takes remediation tokens"),
            (|s| s.cookie_domain = Some("a.test".into()),                       "applicationSettings.cookieDomain has no effect here: every cookie is for its own host alone"),
            (|s| s.programmatic_clients = clients(&["a.apps", "b"]),            "ok"),
            (|s| s.programmatic_clients = clients(&["a", "a"]),                 "accessSettings.oauthSettings.programmaticClients: \"a\" is no client id, or there twice"),
            (|s| s.programmatic_clients = clients(&[""]),                       "accessSettings.oauthSettings.programmaticClients: \"\" is no client id, or there twice"),
            (|s| s.programmatic_clients = clients(&["a b"]),                    "accessSettings.oauthSettings.programmaticClients: \"a b\" is no client id, or there twice"),
            (|s| s.programmatic_clients = clients(&["a"; 501]),                 "accessSettings.oauthSettings.programmaticClients may have 500 entries"),
            (|s| s.rctoken_audience = Some("mesh".into()),                      "ok"),
            (|s| s.rctoken_audience = Some("a\nb".into()),                      "applicationSettings.csmSettings.rctokenAud: an audience has at most 255 visible characters"),
            (|s| s.access_denied_page = Some("https://help.test:8443/why?a=b#c".into()), "ok"),
            (|s| s.access_denied_page = Some(String::new()),                    "ok"),
            (|s| s.access_denied_page = Some("http://help.test/".into()),       "applicationSettings.accessDeniedPageSettings.accessDeniedPageUri: \"http://help.test/\" is no address of a page, which begins with https://"),
            (|s| s.access_denied_page = Some("https://".into()),                "applicationSettings.accessDeniedPageSettings.accessDeniedPageUri: \"https://\" is no address of a page, which begins with https://"),
            (|s| s.access_denied_page = Some("https://u:p@help.test/".into()),  "applicationSettings.accessDeniedPageSettings.accessDeniedPageUri: \"https://u:p@help.test/\" is no address of a page, which begins with https://"),
            (|s| s.access_denied_page = Some("https://help.test\\@evil".into()), "applicationSettings.accessDeniedPageSettings.accessDeniedPageUri: \"https://help.test\\\\@evil\" is no address of a page, which begins with https://"),
            (|s| s.access_denied_page = Some("javascript:alert(1)".into()),     "applicationSettings.accessDeniedPageSettings.accessDeniedPageUri: \"javascript:alert(1)\" is no address of a page, which begins with https://"),
            (|s| s.propagation_expression = Some("attributes.iap_attributes".into()), "ok"),
            (|s| s.propagation_expression = Some(String::new()),                "ok"),
            (|s| s.propagation_expression = Some("attributes".into()),          "applicationSettings.attributePropagationSettings.expression: this is no list of attributes (at column 1)"),
            (|s| s.propagation_outputs = Some(vec![PropagationOutput::Jwt; 2]), "applicationSettings.attributePropagationSettings.outputCredentials has the same entry twice"),
            (|s| s.email_claim = Some(EmailClaim::Optional),                    "ok"),
            (|s| s.forward_credential = Some(true),                             "ok"),
        ];
        for (change, expected) in cases {
            assert_eq!(set(change), expected);
        }
    }

    #[test]
    fn settings_are_stored_as_they_are_set() {
        let settings =
            Settings { allow_http_options: Some(false), programmatic_clients: clients(&["a"]), ..Settings::default() };
        let stored = serde_json::to_string(&settings).unwrap();
        assert_eq!(stored, r#"{"allow_http_options":false,"programmatic_clients":["a"]}"#);
        assert_eq!(serde_json::from_str::<Settings>(&stored).unwrap(), settings);
    }
}
