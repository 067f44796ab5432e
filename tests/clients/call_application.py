"""Calls an application as Google's documentation shows: KEY_FILE CLIENT_ID URL. Prints {"status", "headers", "body"}."""

import json
import sys

from google.auth.transport.requests import AuthorizedSession
from google.oauth2 import service_account

key_file, client_id, url = sys.argv[1:]
credentials = service_account.IDTokenCredentials.from_service_account_file(key_file, target_audience=client_id)
response = AuthorizedSession(credentials).get(url)
print(json.dumps({"status": response.status_code, "headers": dict(response.headers), "body": response.text}))
