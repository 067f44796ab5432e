"""Everything of google-auth whose address is a constant: no address is given to any of it.

Reads $DOORWARD_DEV_JSON and nothing else. Prints what each way led to, by its name: {"status", "body"} of the application or of
Google's user information, the claims of what was verified, or {"refused", "message"}.
"""

import json
import os
import pathlib

import google.auth
from google.auth import impersonated_credentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import id_token, service_account
import requests

WORLD = json.loads(pathlib.Path(os.environ["DOORWARD_DEV_JSON"]).read_text(encoding="utf-8"))
APP, TARGET = WORLD["app"], WORLD["service_accounts"]["target"]["email"]
URL = (APP["https_url"] or APP["url"]) + "/path"
SCOPES = ["openid", "https://www.googleapis.com/auth/userinfo.email"]
CLOUD = ["https://www.googleapis.com/auth/cloud-platform"]
USER_INFO = "https://openidconnect.googleapis.com/v1/userinfo"


def plain(response):
    return {"status": response.status_code, "body": response.text}


def ask(token):
    return plain(requests.get(URL, headers={"Authorization": f"Bearer {token}"}))


def key_file(account):
    return WORLD["service_accounts"][account]["key_file"]


def default(file, scopes=CLOUD):
    """Application default credentials, of a file where they are looked for, or of the metadata server."""
    os.environ.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
    if file:
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(file)
    return google.auth.default(scopes=scopes)[0]


def informed(credentials):
    return plain(AuthorizedSession(credentials).get(USER_INFO))


def fetched(file, client_id=APP["client_id"]):
    """The documentation's way of a program that has a key file or a metadata server."""
    default(file)
    return id_token.fetch_id_token(Request(), client_id)


def as_target(source, scopes=SCOPES):
    return impersonated_credentials.Credentials(
        source_credentials=source, target_principal=TARGET, target_scopes=scopes
    )


def identity_of_target(source, include_email):
    """The documentation's way of a program that acts as another account."""
    credentials = impersonated_credentials.IDTokenCredentials(
        as_target(source), target_audience=APP["client_id"], include_email=include_email
    )
    return plain(AuthorizedSession(credentials).get(URL))


def backend(audience):
    """The documentation's way of an application that reads the signed header."""
    echo = json.loads(ask(fetched(None))["body"])
    return id_token.verify_token(
        echo["headers"]["x-goog-iap-jwt-assertion"],
        Request(),
        audience=audience,
        certs_url="https://www.gstatic.com/iap/verify/public_key",
    )


def refused(way):
    try:
        return way()
    except Exception as refusal:  # Every kind of refusal is a result here; the test says which one it wants.
        return {"refused": type(refusal).__name__, "message": " ".join(map(str, refusal.args))}


def caller():
    return service_account.Credentials.from_service_account_file(key_file("caller"), scopes=CLOUD)


def person(email):
    return default(WORLD["users"][email]["authorized_user_file"])


def stranger():
    return service_account.Credentials.from_service_account_file(key_file("stranger"), scopes=CLOUD)


WAYS = {
    "fetched_key_file": lambda: ask(fetched(key_file("robot"))),
    "fetched_key_file_stranger": lambda: ask(fetched(key_file("stranger"))),
    "fetched_metadata": lambda: ask(fetched(None)),
    "fetched_other_audience": lambda: ask(fetched(None, WORLD["other_app"]["client_id"])),
    "metadata": lambda: informed(default(None, SCOPES)),
    "authorized_user": lambda: informed(person("alice@example.com")),
    "impersonated_file": lambda: informed(
        default(WORLD["credential_files"]["impersonated_service_account"], SCOPES)
    ),
    "impersonated": lambda: informed(as_target(caller())),
    "impersonated_by_user": lambda: identity_of_target(person("alice@example.com"), True),
    "impersonated_with_email": lambda: identity_of_target(caller(), True),
    "impersonated_without_email": lambda: identity_of_target(caller(), False),
    "impersonated_denied": lambda: identity_of_target(stranger(), True),
    "impersonated_denied_to_user": lambda: identity_of_target(person("bob@example.com"), True),
    "verified": lambda: id_token.verify_oauth2_token(fetched(None), Request(), APP["client_id"]),
    "verified_other_audience": lambda: id_token.verify_oauth2_token(
        fetched(None), Request(), WORLD["other_app"]["client_id"]
    ),
    "backend": lambda: backend(APP["audience"]),
    "backend_other_audience": lambda: backend(WORLD["other_app"]["audience"]),
}


if __name__ == "__main__":
    print(json.dumps({name: refused(way) for name, way in WAYS.items()}))
