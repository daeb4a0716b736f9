package peer

import "go4.org/syncutil/singleflight"

func newGo4() Group { return new(singleflight.Group) }
