package peer

import "github.com/golang/groupcache/singleflight"

func newGroupcache() Group { return new(singleflight.Group) }
