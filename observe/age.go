package observe

import (
	"encoding/json"
	"fmt"
	"time"
)

// An age is how long something has lasted. In JSON it is a number of seconds.
type age time.Duration

func (a age) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(a).Seconds())
}

// String returns a in words, in its two largest units.
func (a age) String() string {
	d := time.Duration(a)
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return count(d/time.Second, "second")
	case d < time.Hour:
		return two(d, time.Minute, "minute", time.Second, "second")
	case d < 24*time.Hour:
		return two(d, time.Hour, "hour", time.Minute, "minute")
	default:
		return two(d, 24*time.Hour, "day", time.Hour, "hour")
	}
}

func two(d, unit time.Duration, name string, small time.Duration, smallName string) string {
	words := count(d/unit, name)
	if n := d % unit / small; n > 0 {
		words += " " + count(n, smallName)
	}
	return words
}

func count(n time.Duration, name string) string {
	if n == 1 {
		return "1 " + name
	}
	return fmt.Sprintf("%d %ss", n, name)
}
