import { totalmem } from 'node:os'
import { expect, test } from 'vitest'
import { heldBytesMax, processMemoryBytes } from './memory-limit.js'

const [v2, v1] = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes']
const mebibyte = 1_048_576

function limitWith(files: Record<string, string>): number {
  return processMemoryBytes((file) => files[file])
}

test('the limit of the cgroup is used, version 2 first', () => {
  expect(limitWith({ [v2]: '268435456\n', [v1]: '1\n' })).toBe(268_435_456)
  expect(limitWith({ [v1]: '134217728\n' })).toBe(134_217_728)
})

test.each([
  ['no cgroup', {}],
  ['no limit in version 2', { [v2]: 'max\n' }],
  ['no limit in version 1', { [v1]: '9223372036854771712\n' }],
])('%s: half of the machine, at most 4 GiB', (_what, files) => {
  expect(limitWith(files)).toBe(Math.min(totalmem() / 2, 4_096 * mebibyte))
})

test('clients may hold a part of what the process has beside its own memory', () => {
  expect(heldBytesMax(1_152 * mebibyte)).toBe(Math.floor(1_024 * 0.3 * mebibyte))
  expect(heldBytesMax(100 * mebibyte)).toBe(16 * mebibyte)
})
