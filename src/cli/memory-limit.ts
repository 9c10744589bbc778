// The memory that clients may make a gateway hold, from the memory that its process may use.
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'

/** The limit of the container's cgroup, version 2 and version 1. */
const cgroupFiles = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes']

const mebibyte = 1_048_576
/** What a gateway uses without clients. */
const baselineBytes = 128 * mebibyte
/** A machine is shared with other programs. */
const withoutCgroupMax = 4_096 * mebibyte
/** The rest is for what is not counted: sessions and subscriptions, decoded copies, and garbage. */
const heldPart = 0.3
const heldBytesMin = 16 * mebibyte

/** Returns the bytes that clients may make a process with this memory limit hold. */
export function heldBytesMax(limitBytes: number): number {
  return Math.max(heldBytesMin, Math.floor((limitBytes - baselineBytes) * heldPart))
}

/**
 * Returns the memory that the process may use, in bytes: the limit of its cgroup, or half of the machine's
 * memory and at most 4 GiB. `read` returns the content of a file, or undefined.
 */
export function processMemoryBytes(read: (file: string) => string | undefined = readIfPresent): number {
  const machineBytes = totalmem()
  for (const file of cgroupFiles) {
    const bytes = Number(read(file)?.trim() ?? Number.NaN)
    // Without a limit, version 2 says "max", and version 1 a number larger than any machine.
    if (bytes > 0 && bytes <= machineBytes) return bytes
  }
  return Math.min(machineBytes / 2, withoutCgroupMax)
}

function readIfPresent(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
