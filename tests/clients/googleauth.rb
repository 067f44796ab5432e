# Every way to a token that googleauth has for Ruby, with no address given to it.
#
# Reads $DOORWARD_DEV_JSON and nothing else. Prints what each way led to, by its name: the application's {"status", "body"}, or
# {"refused"}.

require "googleauth"
require "json"
require "net/http"

WORLD = JSON.parse(File.read(ENV.fetch("DOORWARD_DEV_JSON")))
APP = WORLD.fetch("app")
URL = (APP["https_url"] || APP.fetch("url")) + "/path"
# Of an access token, and what says whose it is.
SCOPES = ["openid", "https://www.googleapis.com/auth/userinfo.email"].freeze
USER_INFO = "https://openidconnect.googleapis.com/v1/userinfo"

def get(url, credentials)
  uri = URI(url)
  # Google's libraries hand the header over in this way: the value, with `Bearer`.
  headers = { "Authorization" => credentials.apply({}).fetch(:authorization) }
  response = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") { |http| http.get(uri, headers) }
  { status: response.code.to_i, body: response.body }
end

def ask(credentials)
  get(URL, credentials)
end

def key_file(account, options)
  File.open(WORLD["service_accounts"][account]["key_file"]) do |io|
    Google::Auth::ServiceAccountCredentials.make_creds(json_key_io: io, **options)
  end
end

def user(email)
  File.open(WORLD["users"][email]["authorized_user_file"]) do |io|
    Google::Auth::UserRefreshCredentials.make_creds(json_key_io: io, scope: SCOPES)
  end
end

# Default credentials: of a key file where they are looked for, or of the metadata server.
def default_credentials(key_file, scope, options = {})
  ENV["GOOGLE_APPLICATION_CREDENTIALS"] = key_file
  Google::Auth.get_application_default(scope, options)
end

WAYS = {
  key_file: -> { ask(key_file("robot", target_audience: APP["client_id"])) },
  key_file_stranger: -> { ask(key_file("stranger", target_audience: APP["client_id"])) },
  key_file_other_audience: -> { ask(key_file("robot", target_audience: WORLD["other_app"]["client_id"])) },
  key_file_access: -> { get(USER_INFO, key_file("robot", scope: SCOPES)) },
  default_key_file: lambda {
    file = WORLD["service_accounts"]["robot"]["key_file"]
    ask(default_credentials(file, nil, target_audience: APP["client_id"]))
  },
  # Default credentials of the metadata server take no audience in this version.
  metadata: -> { ask(Google::Auth::GCECredentials.new(target_audience: APP["client_id"])) },
  metadata_access: -> { get(USER_INFO, default_credentials(nil, SCOPES)) },
  authorized_user: -> { get(USER_INFO, user("alice@example.com")) }
}.freeze

led = WAYS.transform_values do |way|
  way.call
rescue StandardError => e # Every kind of refusal is a result here; the test says which one it wants.
  { refused: "#{e.class}: #{e.message}" }
end
puts JSON.generate(led)
