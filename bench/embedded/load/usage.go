package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// usage is what the system says of processes, together.
type usage struct {
	written, fromDisk       int64
	residentMiB, cpuSeconds float64
}

// ticks is how many there are in a second of what /proc says of CPU time, on every Linux.
const ticks = 100

func usageOf(pids []int) (usage, error) {
	var all usage
	for _, pid := range pids {
		disk, err := fields(fmt.Sprintf("/proc/%d/io", pid), "write_bytes", "read_bytes")
		if err != nil {
			return all, err
		}
		memory, err := fields(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
		if err != nil {
			return all, err
		}
		cpu, err := cpuSeconds(pid)
		if err != nil {
			return all, err
		}
		all.cpuSeconds += cpu
		all.written += disk["write_bytes"]
		all.fromDisk += disk["read_bytes"]
		all.residentMiB += float64(memory["VmRSS"]) / 1024
	}
	return all, nil
}

// cpuSeconds is what a process spent, in the system, too.
func cpuSeconds(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, which comes before, may have blanks.
	words := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(words) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	user, err := strconv.ParseInt(words[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(words[12], 10, 64)
	return float64(user+system) / ticks, err
}

// fields reads numbers from a file with a name, a colon and a number in each line.
func fields(path string, names ...string) (map[string]int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	found := make(map[string]int64)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		for _, wanted := range names {
			if name == wanted {
				number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
				if found[name], err = strconv.ParseInt(number, 10, 64); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(found) < len(names) {
		return nil, fmt.Errorf("%s lacks one of %v", path, names)
	}
	return found, nil
}
