package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

func create(given *task) (any, error) {
	return struct{}{}, given.with(peer.create)
}

type counted struct {
	Messages int64 `json:"messages"`
}

func count(given *task) (any, error) {
	var answer counted
	err := given.with(func(server peer) (err error) {
		answer.Messages, err = server.count()
		return err
	})
	return answer, err
}

// moment is a time of the system's clock, which the caller compares with its own.
type moment struct {
	At float64 `json:"at"`
}

// first makes the topic and publishes one message as soon as the server, which is starting, takes them.
func first(given *task) (any, error) {
	giveUp := time.Now().Add(2 * time.Minute)
	for {
		err := dialed(given.address)
		if err == nil {
			err = given.with(func(server peer) error { return one(given, server) })
		}
		if err == nil {
			return moment{float64(time.Now().UnixNano()) / 1e9}, nil
		}
		if time.Now().After(giveUp) {
			return nil, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func dialed(address string) error {
	connection, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		err = connection.Close()
	}
	return err
}

// one publishes one message. An earlier try may have made the topic, so an error of that is told by the publishing.
func one(given *task, server peer) error {
	failed := server.create()
	connection, err := server.open(0)
	if err != nil {
		return errors.Join(failed, err)
	}
	defer connection.close()
	if err := connection.send(given.body()); err != nil {
		return errors.Join(failed, err)
	}
	return nil
}

// published is what publish measured. Total has the messages before the measured time and after it, too.
type published struct {
	Rate     float64 `json:"rate"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Total    int     `json:"total"`
	Written  float64 `json:"written"`
	FromDisk int64   `json:"from_disk"`
	Resident float64 `json:"resident_mib"`
	// CPU milliseconds of the server for 1,000 messages, and cores that this program kept busy.
	CPU  float64 `json:"cpu_ms"`
	Load float64 `json:"load_cores"`
}

// sent is one acknowledged message.
type sent struct {
	at   time.Time
	took time.Duration
}

// publish has every connection send one message after the other.
func publish(given *task) (any, error) {
	server, err := given.connect()
	if err != nil {
		return nil, err
	}
	defer server.close()
	connections, err := openAll(given, server)
	if err != nil {
		return nil, err
	}
	body := given.body()
	begin := time.Now().Add(given.warm)
	end := begin.Add(given.seconds)
	lists := make([][]sent, len(connections))
	failures := make([]error, len(connections))
	var group sync.WaitGroup
	for number, connection := range connections {
		group.Go(func() { lists[number], failures[number] = sendUntil(connection, body, end) })
	}
	time.Sleep(time.Until(begin))
	before, err := usageOf(given.pids)
	busy, unknown := cpuSeconds(os.Getpid())
	time.Sleep(time.Until(end))
	after, failed := usageOf(given.pids)
	busyThen, unknownThen := cpuSeconds(os.Getpid())
	group.Wait()
	for _, connection := range connections {
		connection.close()
	}
	if err := errors.Join(append(failures, err, failed, unknown, unknownThen)...); err != nil {
		return nil, err
	}
	answer, err := summary(slices.Concat(lists...), begin, end, before, after)
	answer.Load = (busyThen - busy) / given.seconds.Seconds()
	return answer, err
}

func openAll(given *task, server peer) ([]sender, error) {
	connections := make([]sender, given.connections)
	for number := range connections {
		connection, err := server.open(number)
		if err != nil {
			return nil, err
		}
		connections[number] = connection
	}
	return connections, nil
}

func sendUntil(connection sender, body []byte, end time.Time) (list []sent, err error) {
	for begun := time.Now(); begun.Before(end); {
		if err := connection.send(body); err != nil {
			return list, err
		}
		now := time.Now()
		list = append(list, sent{now, now.Sub(begun)})
		begun = now
	}
	return list, nil
}

func summary(list []sent, begin, end time.Time, before, after usage) (published, error) {
	var times []time.Duration
	for _, message := range list {
		if message.at.After(begin) && message.at.Before(end) {
			times = append(times, message.took)
		}
	}
	if len(times) == 0 {
		return published{}, errors.New("no message was acknowledged in the measured time")
	}
	slices.Sort(times)
	share := func(part float64) float64 { return times[int(part*float64(len(times)-1))].Seconds() * 1000 }
	return published{
		Rate:     float64(len(times)) / end.Sub(begin).Seconds(),
		P50:      share(0.5),
		P99:      share(0.99),
		Total:    len(list),
		Written:  float64(after.written-before.written) / float64(len(times)),
		FromDisk: after.fromDisk - before.fromDisk,
		Resident: after.residentMiB,
		CPU:      (after.cpuSeconds - before.cpuSeconds) * 1e6 / float64(len(times)),
	}, nil
}

type outage struct {
	Milliseconds float64 `json:"milliseconds"`
	Total        int     `json:"total"`
}

// gap kills the first of the processes while messages go to it, one after the other, and measures the time until
// one is acknowledged that was sent after that.
func gap(given *task) (any, error) {
	var answer outage
	err := given.with(func(server peer) error {
		connection, err := server.open(0)
		if err != nil {
			return err
		}
		defer connection.close()
		body := given.body()
		list, err := sendUntil(connection, body, time.Now().Add(given.warm))
		if err != nil {
			return err
		}
		killed := time.Now()
		if err := syscall.Kill(given.pids[0], syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill: %w", err)
		}
		if err := connection.send(body); err != nil {
			return err
		}
		answer = outage{time.Since(killed).Seconds() * 1000, len(list) + 1}
		return nil
	})
	return answer, err
}
