package observe

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAgesInWords(t *testing.T) {
	const day = 24 * time.Hour
	for d, words := range map[time.Duration]string{
		0:                                   "less than 1 ms",
		999 * time.Microsecond:              "less than 1 ms",
		time.Millisecond:                    "1 ms",
		time.Second - 1:                     "999 ms",
		time.Second:                         "1 second",
		34*time.Second + 900_000_000:        "34 seconds",
		time.Minute:                         "1 minute",
		2*time.Minute + time.Second:         "2 minutes 1 second",
		time.Hour:                           "1 hour",
		time.Hour + 59*time.Second:          "1 hour",
		3*time.Hour + 5*time.Minute:         "3 hours 5 minutes",
		day + 23*time.Hour + 59*time.Minute: "1 day 23 hours",
	} {
		assert.Equal(t, words, age(d).String())
	}
	seconds, err := json.Marshal(age(1500 * time.Millisecond))
	require.NoError(t, err)
	assert.Equal(t, "1.5", string(seconds))
}
