// asynq with one job per recipient over net/http, 64 at once: asynq_run COUNT
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"

	"github.com/hibiken/asynq"
)

type message struct {
	To   string `json:"to"`
	Body string `json:"body"`
}

func enqueue(redis asynq.RedisConnOpt, queue string, count int) error {
	jobs := asynq.NewClient(redis)
	defer jobs.Close()
	for i := range count {
		payload, err := json.Marshal(message{fmt.Sprintf("+1415%07d", i), "hello there, this is an alert"})
		if err != nil {
			return err
		}
		task := asynq.NewTask("message", payload, asynq.Queue(queue), asynq.MaxRetry(5))
		if _, err := jobs.Enqueue(task); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	count, err := strconv.Atoi(os.Args[1])
	must(err)
	redis, err := asynq.ParseRedisURI(os.Getenv("REDIS_URL"))
	must(err)
	queue := fmt.Sprintf("messages-%d", os.Getpid()) // what an earlier run left is not this one's
	must(enqueue(redis, queue, count))

	sent := newMeasure(count)
	handlers := asynq.NewServeMux()
	handlers.HandleFunc("message", func(ctx context.Context, task *asynq.Task) error {
		var m message
		if err := json.Unmarshal(task.Payload(), &m); err != nil {
			return err
		}
		if _, err := post(ctx, url.Values{"To": {m.To}, "From": {"+15550001111"}, "Body": {m.Body}}); err != nil {
			return err
		}
		sent.oneMore()
		return nil
	})
	server := asynq.NewServer(redis, asynq.Config{
		Concurrency: atOnce,
		Queues:      map[string]int{queue: 1},
		LogLevel:    asynq.WarnLevel,
	})
	must(server.Start(handlers))
	<-sent.allDone
	server.Shutdown()
}
