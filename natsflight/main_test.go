package natsflight

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, in a process that spawn has started, its role.
func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleVariable)]; ok {
		role(os.Getenv(settingsVariable))
		return
	}
	must(flag.Set("test.parallel", "16")) // parallel tests mostly wait
	goleak.VerifyTestMain(m)
}
