// The bare net/http client in a loop, no queue, 64 at once: what a sender on it can't exceed. loop_run COUNT
package main

import (
	"context"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

func main() {
	count, err := strconv.Atoi(os.Args[1])
	must(err)
	sent := newMeasure(count)
	var next atomic.Int64
	for range atOnce {
		go func() {
			for next.Add(1) <= int64(count) {
				_, err := post(context.Background(), url.Values{
					"To":                  {"+14155550100"},
					"MessagingServiceSid": {"MG" + strings.Repeat("0", 32)},
					"Body":                {"hello there, this is an alert"},
					"StatusCallback":      {"https://example.org/hooks/status/abcdefgh"},
				})
				must(err)
				sent.oneMore()
			}
		}()
	}
	<-sent.allDone
}
