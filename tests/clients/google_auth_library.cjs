// Every way to a token that google-auth-library has and whose addresses can be given; and with no "api" no address is given, and
// those whose address is a constant are gone too.
//
// Reads {"app", "api", "client_id", "desktop", "cookie", "target", "audience", "files"} from standard input. Prints what each way led
// to, by its name: the application's {"status", "body"}, or what is said where it is read.
"use strict";

const { GoogleAuth, Impersonated, OAuth2Client } = require("google-auth-library");

const given = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const google = (hostAndPath) => given.api && `${given.api}/${hostAndPath}`;
const url = `${given.app}/path`;
const endpoints = given.api && {
  oauth2AuthBaseUrl: google("accounts.google.com/o/oauth2/v2/auth"),
  oauth2TokenUrl: google("oauth2.googleapis.com/token"),
  oauth2RevokeUrl: google("oauth2.googleapis.com/revoke"),
  tokenInfoUrl: google("oauth2.googleapis.com/tokeninfo"),
  oauth2FederatedSignonPemCertsUrl: google("www.googleapis.com/oauth2/v1/certs"),
  oauth2FederatedSignonJwkCertsUrl: google("www.googleapis.com/oauth2/v3/certs"),
  oauth2IapPublicKeyUrl: google("www.gstatic.com/iap/verify/public_key"),
};

async function ask(token) {
  const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
  return { status: response.status, body: await response.text() };
}

async function request(client) {
  const response = await client.request({ url, responseType: "text", validateStatus: () => true });
  const body = typeof response.data === "string" ? response.data : JSON.stringify(response.data);
  return { status: response.status, body };
}

async function refusal(promise) {
  try {
    return { accepted: await promise };
  } catch (error) {
    return { refused: error.message };
  }
}

// The sample of the documentation.
async function metadata() {
  const client = await new GoogleAuth().getIdTokenClient(given.client_id);
  return request(client);
}

function oauth2Client() {
  const { client_id: clientId, client_secret: clientSecret } = given.desktop;
  return new OAuth2Client({ clientId, clientSecret, redirectUri: "http://localhost:4444/back", endpoints });
}

async function signIn() {
  const client = oauth2Client();
  const { codeVerifier, codeChallenge } = await client.generateCodeVerifierAsync();
  const state = "a state & more";
  const address = client.generateAuthUrl({
    access_type: "offline",
    scope: ["openid", "email"],
    state,
    code_challenge_method: "S256",
    code_challenge: codeChallenge,
  });
  const answer = await fetch(address, { redirect: "manual", headers: { Cookie: given.cookie } });
  const back = new URL(answer.headers.get("location"));
  const code = back.searchParams.get("code");
  const wrongVerifier = await refusal(client.getToken({ code, codeVerifier: "x".repeat(43) }));
  const again = await fetch(address, { redirect: "manual", headers: { Cookie: given.cookie } });
  const { tokens } = await client.getToken({
    code: new URL(again.headers.get("location")).searchParams.get("code"),
    codeVerifier,
  });
  client.setCredentials(tokens);
  const ticket = await client.verifyIdToken({ idToken: tokens.id_token, audience: given.desktop.client_id });
  const info = await client.getTokenInfo(tokens.access_token);
  const before = await ask(tokens.id_token);
  const { credentials } = await client.refreshAccessToken();
  const revoked = await client.revokeToken(credentials.access_token);
  return {
    state: back.searchParams.get("state") === state,
    wrongVerifier,
    members: Object.keys(tokens).sort(),
    claims: ticket.getPayload(),
    info,
    id_token: before,
    revoked: revoked.status,
    afterwards: await refusal(client.refreshAccessToken()),
  };
}

async function impersonated() {
  const source = oauth2Client();
  const { codeVerifier, codeChallenge } = await source.generateCodeVerifierAsync();
  const address = source.generateAuthUrl({
    access_type: "offline",
    scope: "https://www.googleapis.com/auth/cloud-platform",
    code_challenge_method: "S256",
    code_challenge: codeChallenge,
  });
  const answer = await fetch(address, { redirect: "manual", headers: { Cookie: given.cookie } });
  const code = new URL(answer.headers.get("location")).searchParams.get("code");
  source.setCredentials((await source.getToken({ code, codeVerifier })).tokens);
  const target = new Impersonated({
    sourceClient: source,
    targetPrincipal: given.target,
    targetScopes: ["openid", "email"],
    lifetime: 600,
    delegates: [],
    endpoint: google("iamcredentials.googleapis.com"),
  });
  const { token } = await target.getAccessToken();
  const info = await oauth2Client().getTokenInfo(token);
  const { signedBlob, keyId } = await target.sign("a text");
  return {
    signed: Boolean(signedBlob && keyId),
    email: info.email,
    id_token: await ask(await target.fetchIdToken(given.client_id, { includeEmail: true })),
    id_token_client: await request(
      await new GoogleAuth({ authClient: target }).getIdTokenClient(given.client_id),
    ),
  };
}

async function assertion() {
  const client = oauth2Client();
  const { pubkeys } = await client.getIapPublicKeys();
  const signed = JSON.parse((await metadata()).body).headers["x-goog-iap-jwt-assertion"];
  const verify = (audience) =>
    client.verifySignedJwtWithCertsAsync(signed, pubkeys, audience, ["https://cloud.google.com/iap"]);
  return { claims: (await verify(given.audience)).getPayload(), other: await refusal(verify(`${given.audience}0`)) };
}

// A token URL that is a constant, whatever the file says.
async function keyFile(file) {
  const client = await new GoogleAuth({ keyFilename: file }).getIdTokenClient(given.client_id);
  return request(client);
}

async function informed(file) {
  const scopes = ["openid", "email", "https://www.googleapis.com/auth/cloud-platform"];
  const client = await new GoogleAuth({ keyFilename: file, scopes }).getClient();
  const { token } = await client.getAccessToken();
  return oauth2Client().getTokenInfo(token);
}

async function impersonatedBy(file) {
  const sourceClient = await new GoogleAuth({
    keyFilename: file,
    scopes: "https://www.googleapis.com/auth/cloud-platform",
  }).getClient();
  const target = new Impersonated({ sourceClient, targetPrincipal: given.target });
  return ask(await target.fetchIdToken(given.client_id, { includeEmail: true }));
}

const constants = {
  key_file: () => keyFile(given.files.robot),
  key_file_stranger: () => keyFile(given.files.stranger),
  key_file_access: () => informed(given.files.robot),
  authorized_user: () => informed(given.files.authorized_user),
  impersonated_file: () => informed(given.files.impersonated),
  impersonated_by_key: () => impersonatedBy(given.files.caller),
  impersonated_denied: () => refusal(impersonatedBy(given.files.stranger)),
};

async function main() {
  const ways = { metadata, signIn, impersonated, assertion, ...(given.api ? {} : constants) };
  const led = {};
  for (const [name, way] of Object.entries(ways)) {
    led[name] = await way();
  }
  process.stdout.write(JSON.stringify(led));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
