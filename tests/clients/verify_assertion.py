"""Verifies signed headers as a backend does, with google.oauth2.id_token.verify_token.

Reads a JSON list of {"token", "audience", "keys_url", "seconds_later"} from standard input and prints a list of
{"claims"} or {"refused", "message"}. With `seconds_later` the verifier's clock is set forward: the library reads the
time in two places, one for each form of the key document.
"""

import datetime
import json
import sys
from unittest import mock

from google.auth import _helpers
from google.auth.transport.requests import Request
from google.oauth2 import id_token


def verify(case):
    later = datetime.timedelta(seconds=case["seconds_later"])

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.now(tz) + later

    utcnow = _helpers.utcnow
    with (
        mock.patch.object(_helpers, "utcnow", lambda: utcnow() + later),
        mock.patch("jwt.api_jwt.datetime", Clock),
    ):
        try:
            claims = id_token.verify_token(
                case["token"], Request(), audience=case["audience"], certs_url=case["keys_url"]
            )
        except Exception as refusal:  # Every kind of refusal is a result here; the test says which one it wants.
            return {"refused": type(refusal).__name__, "message": str(refusal)}
    return {"claims": claims}


json.dump([verify(case) for case in json.load(sys.stdin)], sys.stdout)
