// Every way to a token that Go's idtoken and impersonate have, with no address given to them.
//
// Reads $DOORWARD_DEV_JSON and nothing else. Prints what each way led to, by its name: the application's {"status", "body"}, the
// claims of a verified token, or {"refused"}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"golang.org/x/oauth2"
	"google.golang.org/api/idtoken"
	"google.golang.org/api/impersonate"
	"google.golang.org/api/option"
	"google.golang.org/api/transport"
)

type account struct {
	Email   string `json:"email"`
	KeyFile string `json:"key_file"`
}

type application struct {
	URL      string `json:"url"`
	HTTPSURL string `json:"https_url"`
	ClientID string `json:"client_id"`
	Audience string `json:"audience"`
}

type description struct {
	App             application        `json:"app"`
	OtherApp        application        `json:"other_app"`
	ServiceAccounts map[string]account `json:"service_accounts"`
}

type answer struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
}

type refusal struct {
	Refused string `json:"refused"`
}

var world = readDescription()

func readDescription() description {
	var read description
	text, err := os.ReadFile(os.Getenv("DOORWARD_DEV_JSON"))
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return read
}

// The sample of the documentation.
func makeIAPRequest(targetURL, clientID string) (answer, error) {
	ctx := context.Background()

	// Create an HTTP client that automatically adds the ID token
	client, err := idtoken.NewClient(ctx, clientID)
	if err != nil {
		return answer{}, fmt.Errorf("failed to create IAP client: %w", err)
	}
	return get(client, targetURL)
}

func get(client *http.Client, targetURL string) (answer, error) {
	// Make the request - the client handles token generation
	resp, err := client.Get(targetURL)
	if err != nil {
		return answer{}, fmt.Errorf("request failed: %w", err)
	}
	defer resp.Body.Close()

	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("failed to read response: %w", err)
	}
	return answer{resp.StatusCode, string(body)}, nil
}

// The example of the package's documentation.
func impersonated(targetURL, clientID string) (answer, error) {
	ctx := context.Background()
	ts, err := impersonate.IDTokenSource(ctx, impersonate.IDTokenConfig{
		Audience:        clientID,
		TargetPrincipal: world.ServiceAccounts["target"].Email,
		IncludeEmail:    true,
	})
	if err != nil {
		return answer{}, err
	}
	client, _, err := transport.NewHTTPClient(ctx, option.WithTokenSource(ts))
	if err != nil {
		return answer{}, err
	}
	return get(client, targetURL)
}

// An access token of another account, and what Google's user information says of it.
func impersonatedAccess() (answer, error) {
	ctx := context.Background()
	ts, err := impersonate.CredentialsTokenSource(ctx, impersonate.CredentialsConfig{
		TargetPrincipal: world.ServiceAccounts["target"].Email,
		Scopes:          []string{"openid", "https://www.googleapis.com/auth/userinfo.email"},
	})
	if err != nil {
		return answer{}, err
	}
	return get(oauth2.NewClient(ctx, ts), "https://openidconnect.googleapis.com/v1/userinfo")
}

// Verifies an ID token of ours and the signed header that the application was given, as a backend does.
func validated(targetURL, clientID, audience string) (map[string]interface{}, error) {
	ctx := context.Background()
	ts, err := idtoken.NewTokenSource(ctx, clientID)
	if err != nil {
		return nil, err
	}
	token, err := ts.Token()
	if err != nil {
		return nil, err
	}
	idToken, err := idtoken.Validate(ctx, token.AccessToken, clientID)
	if err != nil {
		return nil, fmt.Errorf("ID token: %w", err)
	}
	got, err := get(oauth2.NewClient(ctx, ts), targetURL)
	if err != nil {
		return nil, err
	}
	var echo struct {
		Headers map[string]string `json:"headers"`
	}
	if err := json.Unmarshal([]byte(got.Body), &echo); err != nil {
		return nil, err
	}
	assertion, err := idtoken.Validate(ctx, echo.Headers["x-goog-iap-jwt-assertion"], audience)
	if err != nil {
		return nil, fmt.Errorf("signed header: %w", err)
	}
	return map[string]interface{}{"id_token": idToken.Claims, "assertion": assertion.Claims}, nil
}

// With a key file where default credentials are looked for, or with none: the metadata server.
func with(keyFile string) {
	if keyFile == "" {
		os.Unsetenv("GOOGLE_APPLICATION_CREDENTIALS")
	} else {
		os.Setenv("GOOGLE_APPLICATION_CREDENTIALS", keyFile)
	}
}

func main() {
	url := world.App.HTTPSURL
	if url == "" {
		url = world.App.URL
	}
	url += "/path"
	led := map[string]interface{}{}
	note := func(way string, value interface{}, err error) {
		if err != nil {
			value = refusal{err.Error()}
		}
		led[way] = value
	}
	sample := func(way, account, clientID string) {
		with(world.ServiceAccounts[account].KeyFile)
		value, err := makeIAPRequest(url, clientID)
		note(way, value, err)
	}
	sample("key_file", "robot", world.App.ClientID)
	sample("key_file_stranger", "stranger", world.App.ClientID)
	sample("key_file_other_audience", "robot", world.OtherApp.ClientID)
	sample("metadata", "", world.App.ClientID)
	sample("metadata_other_audience", "", world.OtherApp.ClientID)
	for way, account := range map[string]string{"impersonated": "caller", "impersonated_denied": "stranger"} {
		with(world.ServiceAccounts[account].KeyFile)
		value, err := impersonated(url, world.App.ClientID)
		note(way, value, err)
		value, err = impersonatedAccess()
		note(way+"_access", value, err)
	}
	with("")
	claims, err := validated(url, world.App.ClientID, world.App.Audience)
	note("validated", claims, err)
	claims, err = validated(url, world.App.ClientID, world.OtherApp.Audience)
	note("validated_other_audience", claims, err)
	if err := json.NewEncoder(os.Stdout).Encode(led); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
