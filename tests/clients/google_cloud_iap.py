"""google-cloud-iap over REST: policies, settings, the brand and its clients.

Reads {"endpoint", "key_file", "stranger_key_file", "number", "resource", "member"} from standard input; `endpoint` is
null where the library's own is to be used. Prints what each call gave, by its name.
"""

import json
import sys

from google.api_core import exceptions
from google.cloud import iap_v1
from google.iam.v1 import iam_policy_pb2, options_pb2, policy_pb2
from google.protobuf import field_mask_pb2, json_format
from google.type import expr_pb2

GIVEN = json.load(sys.stdin)
RESOURCE, ROLE = GIVEN["resource"], "roles/iap.httpsResourceAccessor"
OPTIONS = {"api_endpoint": GIVEN["endpoint"]} if GIVEN["endpoint"] else None


def client(kind, key_file):
    return kind.from_service_account_file(key_file, transport="rest", client_options=OPTIONS)


def refused(call):
    try:
        call()
    except exceptions.GoogleAPICallError as error:
        return {"kind": type(error).__name__, "message": error.message, "code": error.code}
    return None


def shown(message):
    return json.loads(type(message).to_json(message, use_integers_for_enums=False, including_default_value_fields=False))


admin = client(iap_v1.IdentityAwareProxyAdminServiceClient, GIVEN["key_file"])
oauth = client(iap_v1.IdentityAwareProxyOAuthServiceClient, GIVEN["key_file"])
stranger = client(iap_v1.IdentityAwareProxyAdminServiceClient, GIVEN["stranger_key_file"])
told = {}


def read():
    options = options_pb2.GetPolicyOptions(requested_policy_version=3)
    return admin.get_iam_policy(request=iam_policy_pb2.GetIamPolicyRequest(resource=RESOURCE, options=options))


def write(policy):
    return admin.set_iam_policy(request=iam_policy_pb2.SetIamPolicyRequest(resource=RESOURCE, policy=policy))


before = read()
changed = policy_pb2.Policy()
changed.CopyFrom(before)
changed.version = 3
condition = expr_pb2.Expr(title="open", expression='request.path.startsWith("/open/")')
changed.bindings.add(role=ROLE, members=[GIVEN["member"]], condition=condition)
written = write(changed)
told["policy"] = json_format.MessageToDict(read())
told["new_etag"] = written.etag != before.etag
told["stale"] = refused(lambda: write(changed))
tested = iam_policy_pb2.TestIamPermissionsRequest(
    resource=RESOURCE, permissions=["iap.webServices.getIamPolicy", "iap.webServiceVersions.accessViaIAP"]
)
told["held"] = list(admin.test_iam_permissions(request=tested).permissions)
told["denied"] = refused(
    lambda: stranger.get_iam_policy(request=iam_policy_pb2.GetIamPolicyRequest(resource=RESOURCE))
)

told["settings_before"] = shown(admin.get_iap_settings(request={"name": RESOURCE}))
settings = iap_v1.IapSettings(
    name=RESOURCE,
    access_settings={"oauth_settings": {"programmatic_clients": ["c.apps.googleusercontent.com"]}},
)
mask = field_mask_pb2.FieldMask(paths=["access_settings.oauth_settings.programmatic_clients"])
told["settings_set"] = shown(admin.update_iap_settings(request={"iap_settings": settings, "update_mask": mask}))
told["settings"] = shown(admin.get_iap_settings(request={"name": RESOURCE}))
told["settings_denied"] = refused(lambda: stranger.get_iap_settings(request={"name": RESOURCE}))


def validate(expression):
    return admin.validate_iap_attribute_expression(request={"name": RESOURCE, "expression": expression})


validate("attributes.saml_attributes")
told["wrong_expression"] = refused(lambda: validate("attributes.."))

project = f"projects/{GIVEN['number']}"
told["no_brands"] = [shown(it) for it in oauth.list_brands(request={"parent": project}).brands]
brand = oauth.create_brand(
    request={"parent": project, "brand": {"application_title": "Ours", "support_email": "alice@example.com"}}
)
told["brand"] = shown(oauth.get_brand(request={"name": brand.name}))
told["brands"] = [it.name for it in oauth.list_brands(request={"parent": project}).brands]
# Those of the applications of the world are there already.
before = {it.name for it in oauth.list_identity_aware_proxy_clients(request={"parent": brand.name})}
made = oauth.create_identity_aware_proxy_client(
    request={"parent": brand.name, "identity_aware_proxy_client": {"display_name": "one"}}
)
reset = oauth.reset_identity_aware_proxy_client_secret(request={"name": made.name})
told["another_secret"] = bool(made.secret and reset.secret) and made.secret != reset.secret
told["client"] = oauth.get_identity_aware_proxy_client(request={"name": made.name}).display_name
listed = oauth.list_identity_aware_proxy_clients(request={"parent": brand.name})
told["clients"] = [it.display_name for it in listed if it.name not in before]
oauth.delete_identity_aware_proxy_client(request={"name": made.name})
listed = oauth.list_identity_aware_proxy_clients(request={"parent": brand.name})
told["clients_after"] = [it.name for it in listed if it.name not in before]
told["gone"] = refused(lambda: oauth.get_identity_aware_proxy_client(request={"name": made.name}))
print(json.dumps(told))
