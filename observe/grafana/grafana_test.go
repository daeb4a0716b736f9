// Package grafana_test tests the dashboard and the alert rules in this folder.
package grafana_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight/observe"
)

// expressions returns what the dashboard asks Prometheus for, as Grafana would with values
// for its variables.
func expressions(t *testing.T) (all []string) {
	t.Helper()
	var dashboard struct {
		Templating struct {
			List []struct{ Query string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, "dashboard.json")), &dashboard))
	variables := strings.NewReplacer("$__rate_interval", "1m", "$group", ".*")
	labelValues := regexp.MustCompile(`^label_values\((.*), \w+\)$`)
	for _, variable := range dashboard.Templating.List {
		if m := labelValues.FindStringSubmatch(variable.Query); m != nil {
			all = append(all, m[1])
		}
	}
	for _, panel := range dashboard.Panels {
		assert.NotEmpty(t, panel.Targets, panel.Title)
		for _, target := range panel.Targets {
			expr := variables.Replace(target.Expr)
			assert.NotContains(t, expr, "$", "a variable that this test does not know")
			all = append(all, expr)
		}
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// scraped returns the names of the series that a scrape has.
func scraped(t *testing.T) map[string]bool {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(observe.Collector(new(observe.Group)))
	families, err := registry.Gather()
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, family := range families {
		if family.GetMetric()[0].GetHistogram() == nil {
			names[family.GetName()] = true
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			names[family.GetName()+suffix] = true
		}
		for _, bucket := range family.GetMetric()[0].GetHistogram().GetBucket() {
			names[fmt.Sprintf("le=%q", strconv.FormatFloat(bucket.GetUpperBound(), 'g', -1, 64))] = true
		}
	}
	return names
}

// All names are those of a scrape, and the dashboard shows all that there are.
func TestNames(t *testing.T) {
	names := scraped(t)
	name := regexp.MustCompile(`singleflight_\w+|le="[^"]*"`)
	shown := make(map[string]bool)
	for _, found := range name.FindAllString(strings.Join(expressions(t), "\n"), -1) {
		shown[found] = true
		assert.True(t, names[found], "dashboard.json has %s, a scrape has not", found)
	}
	for _, file := range []string{"alerts.yml", "alerts_test.yml"} {
		found := name.FindAllString(read(t, file), -1)
		assert.NotEmpty(t, found)
		for _, found := range found {
			assert.True(t, names[found], "%s has %s, a scrape has not", file, found)
		}
	}
	for name := range names {
		if !strings.HasPrefix(name, "le=") {
			assert.True(t, shown[name], "dashboard.json does not show %s", name)
		}
	}
}

// promtool reads the rules and the dashboard's expressions, and sees each alert fire.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool: apt-get install prometheus")
	}
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for i, expr := range expressions(t) {
		rules = append(rules, rule{"dashboard:" + strconv.Itoa(i), expr})
	}
	file, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}}) // JSON is YAML
	require.NoError(t, err)
	dashboard := filepath.Join(t.TempDir(), "dashboard.yml")
	require.NoError(t, os.WriteFile(dashboard, file, 0o600))
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", dashboard},
		{"check", "rules", "--lint-fatal", "alerts.yml"},
		{"test", "rules", "alerts_test.yml"},
	} {
		said, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		require.NoError(t, err, "promtool %v: %s", args, said)
	}
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(read(t, "alerts.yml"), -1)
	require.NotEmpty(t, alerts)
	for _, alert := range alerts {
		assert.Contains(t, read(t, "alerts_test.yml"), "alertname: "+alert[1])
	}
}
