"""The first Python sample for service accounts, as it is published: IAP_CLIENT_ID TARGET_URL."""

import json
import sys

import google.auth
import google.auth.transport.requests
from google.oauth2 import id_token
import requests as http_requests

IAP_CLIENT_ID, TARGET_URL = sys.argv[1:]


def make_iap_request(url, client_id, method="GET", **kwargs):
    """Make a request to an IAP-protected resource using default credentials."""

    # Get the default credentials (works on GCE, GKE, Cloud Run, etc.)
    credentials, _ = google.auth.default()

    # Create a request adapter
    auth_request = google.auth.transport.requests.Request()

    # Refresh the credentials to get an access token
    credentials.refresh(auth_request)

    # Fetch an ID token targeted at the IAP client ID
    id_token_value = id_token.fetch_id_token(auth_request, client_id)

    # Make the request with the ID token in the Authorization header
    headers = kwargs.pop("headers", {})
    headers["Authorization"] = f"Bearer {id_token_value}"

    response = http_requests.request(method, url, headers=headers, **kwargs)
    return response


response = make_iap_request(TARGET_URL, IAP_CLIENT_ID)
print(json.dumps({"status": response.status_code, "body": response.text}))
