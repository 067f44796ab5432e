// Every way to a token that google-auth-library has for Java, with no address given to it.
//
// Reads $DOORWARD_DEV_JSON and nothing else. GOOGLE_APPLICATION_CREDENTIALS is for the whole of a JVM, so that the first argument
// says which ways are gone: those of a key file there, or those of the metadata server. Prints what each led to, by its name: the
// application's {"status", "body"}, or {"refused"}.

import com.google.api.client.http.GenericUrl;
import com.google.api.client.http.HttpRequest;
import com.google.api.client.http.HttpResponse;
import com.google.api.client.http.HttpTransport;
import com.google.api.client.http.javanet.NetHttpTransport;
import com.google.auth.http.HttpCredentialsAdapter;
import com.google.auth.oauth2.GoogleCredentials;
import com.google.auth.oauth2.IdTokenCredentials;
import com.google.auth.oauth2.IdTokenProvider;
import com.google.auth.oauth2.ImpersonatedCredentials;
import com.google.auth.oauth2.ServiceAccountCredentials;
import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.FileInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;

public class GoogleAuthLibrary {
  private static final String IAM_SCOPE = "https://www.googleapis.com/auth/iam";
  private static final HttpTransport httpTransport = new NetHttpTransport();

  private final JsonObject world;
  private final String url;
  private final Map<String, Object> led = new LinkedHashMap<>();

  private GoogleAuthLibrary(JsonObject world) {
    this.world = world;
    JsonObject app = world.getAsJsonObject("app");
    boolean https = app.has("https_url") && !app.get("https_url").isJsonNull();
    this.url = app.get(https ? "https_url" : "url").getAsString() + "/path";
  }

  // The sample of the documentation: getIdTokenProvider and buildIapRequest.
  private static IdTokenProvider getIdTokenProvider() throws IOException {
    GoogleCredentials credentials =
        GoogleCredentials.getApplicationDefault().createScoped(Collections.singleton(IAM_SCOPE));
    return (IdTokenProvider) credentials;
  }

  private static HttpRequest buildIapRequest(
      IdTokenProvider idTokenProvider, String iapClientId, String webUrl) throws IOException {
    IdTokenCredentials credential =
        IdTokenCredentials.newBuilder()
            .setIdTokenProvider(idTokenProvider)
            .setTargetAudience(iapClientId)
            .setOptions(
                Arrays.asList(IdTokenProvider.Option.FORMAT_FULL, IdTokenProvider.Option.INCLUDE_EMAIL))
            .build();
    HttpRequest request =
        httpTransport
            .createRequestFactory(new HttpCredentialsAdapter(credential))
            .buildGetRequest(new GenericUrl(webUrl));
    // Java's own prefers HTML.
    request.getHeaders().setAccept("application/json");
    return request;
  }

  private static Map<String, Object> execute(HttpRequest request) throws IOException {
    HttpResponse response = request.setThrowExceptionOnExecuteError(false).execute();
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("status", response.getStatusCode());
    answer.put("body", response.parseAsString());
    return answer;
  }

  private Object ask(IdTokenProvider provider, String application) throws IOException {
    String clientId = world.getAsJsonObject(application).get("client_id").getAsString();
    return execute(buildIapRequest(provider, clientId, url));
  }

  private ServiceAccountCredentials keyFileOf(String account) throws IOException {
    String file = account(account, "key_file");
    try (FileInputStream stream = new FileInputStream(file)) {
      return ServiceAccountCredentials.fromStream(stream);
    }
  }

  private ImpersonatedCredentials asTarget(String account) throws IOException {
    GoogleCredentials source = keyFileOf(account).createScoped(Collections.singleton(IAM_SCOPE));
    List<String> scopes = Arrays.asList("openid", "https://www.googleapis.com/auth/userinfo.email");
    return ImpersonatedCredentials.create(source, account("target", "email"), null, scopes, 300);
  }

  private Object informed(GoogleCredentials credentials) throws IOException {
    GenericUrl userinfo = new GenericUrl("https://openidconnect.googleapis.com/v1/userinfo");
    return execute(
        httpTransport.createRequestFactory(new HttpCredentialsAdapter(credentials)).buildGetRequest(userinfo));
  }

  private GoogleCredentials user() throws IOException {
    String file = world.getAsJsonObject("users").getAsJsonObject("alice@example.com")
        .get("authorized_user_file").getAsString();
    try (FileInputStream stream = new FileInputStream(file)) {
      return GoogleCredentials.fromStream(stream);
    }
  }

  private String account(String name, String member) {
    return world.getAsJsonObject("service_accounts").getAsJsonObject(name).get(member).getAsString();
  }

  private void note(String way, Callable<Object> led) {
    Object value;
    try {
      value = led.call();
    } catch (Exception refusal) {
      value = Collections.singletonMap("refused", String.valueOf(refusal));
    }
    this.led.put(way, value);
  }

  private void withMetadataServer() {
    note("metadata", () -> ask(getIdTokenProvider(), "app"));
  }

  private void withKeyFile() {
    note("default_key_file", () -> ask(getIdTokenProvider(), "app"));
    note("key_file", () -> ask(keyFileOf("robot"), "app"));
    note("key_file_stranger", () -> ask(keyFileOf("stranger"), "app"));
    // It asks again ten times after a 401, each time with a new token.
    note("key_file_other_audience", () -> ask(keyFileOf("robot"), "other_app"));
    note("impersonated", () -> ask(asTarget("caller"), "app"));
    note("impersonated_denied", () -> ask(asTarget("stranger"), "app"));
    note("impersonated_access", () -> informed(asTarget("caller")));
    note("authorized_user", () -> informed(user()));
  }

  public static void main(String[] arguments) throws Exception {
    String text = Files.readString(Path.of(System.getenv("DOORWARD_DEV_JSON")));
    GoogleAuthLibrary ways = new GoogleAuthLibrary(JsonParser.parseString(text).getAsJsonObject());
    switch (arguments[0]) {
      case "key_file" -> ways.withKeyFile();
      case "metadata" -> ways.withMetadataServer();
      default -> throw new IllegalArgumentException(arguments[0]);
    }
    System.out.println(new Gson().toJson(ways.led));
  }
}
