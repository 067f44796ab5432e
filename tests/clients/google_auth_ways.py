"""Every way to a token that google-auth has and whose addresses can be given.

Reads {"app", "api", "client_id", "other_client_id", "key_file", "stranger_key_file", "caller_key_file", "target",
"authorized_user_file", "impersonated_file"} from standard input. Prints what each way led to, by its name: the
application's {"status", "body"}, or what is said where it is read.
"""

import json
import sys

import google.auth.jwt
from google.auth import impersonated_credentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import credentials as user_credentials
from google.oauth2 import id_token, service_account
import requests

GIVEN = json.load(sys.stdin)
APP, API, CLIENT_ID = GIVEN["app"] + "/path", GIVEN["api"], GIVEN["client_id"]
TOKEN_URL = f"{API}/oauth2.googleapis.com/token"
ACCOUNT = f"{API}/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{GIVEN['target']}"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def plain(response):
    return {"status": response.status_code, "body": response.text}


def ask(token):
    return plain(requests.get(APP, headers={"Authorization": f"Bearer {token}"}))


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def with_key_file(key_file, audience=CLIENT_ID):
    credentials = service_account.IDTokenCredentials.from_service_account_info(
        {**read(key_file), "token_uri": TOKEN_URL}, target_audience=audience
    )
    credentials.refresh(Request())
    return credentials.token


def caller():
    info = {**read(GIVEN["caller_key_file"]), "token_uri": TOKEN_URL}
    return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)


def user():
    """The file's own loader has a constant for the token endpoint."""
    file = read(GIVEN["authorized_user_file"])
    return user_credentials.Credentials(
        None,
        refresh_token=file["refresh_token"],
        token_uri=TOKEN_URL,
        client_id=file["client_id"],
        client_secret=file["client_secret"],
    )


def impersonating(source, url=f"{ACCOUNT}:generateAccessToken"):
    credentials = impersonated_credentials.Credentials(
        source_credentials=source,
        target_principal=GIVEN["target"],
        target_scopes=["openid", "email"],
        iam_endpoint_override=url,
    )
    credentials.refresh(Request())
    return credentials


def user_info(credentials):
    return plain(AuthorizedSession(credentials).get(f"{API}/openidconnect.googleapis.com/v1/userinfo"))


def identity_of_target(source, include_email):
    """What IDTokenCredentials sends, which has a constant for the address."""
    body = {"audience": CLIENT_ID, "delegates": None, "includeEmail": include_email}
    response = AuthorizedSession(source).post(f"{ACCOUNT}:generateIdToken", json=body)
    return response.json()["token"]


def from_file():
    """The file's own loader reads the account from its URL and has a constant for the rest."""
    file = read(GIVEN["impersonated_file"])
    source = service_account.Credentials.from_service_account_info(file["source_credentials"], scopes=SCOPES)
    return impersonating(source, file["service_account_impersonation_url"])


def self_signed(key_file):
    credentials = google.auth.jwt.Credentials.from_service_account_file(key_file, audience=GIVEN["app"] + "/*")
    return plain(AuthorizedSession(credentials).get(APP))


def verified(token, document):
    return id_token.verify_token(
        token, Request(), audience=CLIENT_ID, certs_url=f"{API}/www.googleapis.com/oauth2/{document}/certs"
    )


def refused(way):
    try:
        return way()
    except Exception as refusal:  # Every kind of refusal is a result here; the test says which one it wants.
        return {"refused": type(refusal).__name__, "message": " ".join(map(str, refusal.args))}


def of_signed_in_user():
    credentials = user()
    credentials.refresh(Request())
    return credentials


robot = with_key_file(GIVEN["key_file"])
stranger = with_key_file(GIVEN["stranger_key_file"])
person = of_signed_in_user()
no_caller = service_account.Credentials.from_service_account_info(
    {**read(GIVEN["stranger_key_file"]), "token_uri": TOKEN_URL}, scopes=SCOPES
)
print(
    json.dumps(
        {
            "key_file": ask(robot),
            "key_file_stranger": ask(stranger),
            "impersonated": user_info(impersonating(caller())),
            "impersonated_by_user": user_info(impersonating(user())),
            "impersonated_by_file": user_info(from_file()),
            "impersonated_denied": refused(lambda: impersonating(no_caller)),
            "impersonated_with_email": ask(identity_of_target(caller(), True)),
            "impersonated_without_email": ask(identity_of_target(caller(), False)),
            "impersonated_with_email_by_user": ask(identity_of_target(user(), "true")),
            "authorized_user": user_info(person),
            "authorized_user_id_token": ask(person.id_token),
            "self_signed": self_signed(GIVEN["key_file"]),
            "self_signed_stranger": self_signed(GIVEN["stranger_key_file"]),
            "verified_v1": verified(robot, "v1"),
            "verified_v3": verified(robot, "v3"),
            "verified_other": refused(
                lambda: verified(with_key_file(GIVEN["key_file"], GIVEN["other_client_id"]), "v1")
            ),
        }
    )
)
