import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { readWatch } from './watch-stream.js'

test.each([['{"type":"ADDED","object":{"data":{"key":"c2VjcmV0"}'], ['c2VjcmV0']])(
  'the error of a malformed line does not quote the line: %s',
  async (line) => {
    async function* body() {
      yield Buffer.from(`${line}\n`)
    }
    const reading = readWatch(body(), () => {}).next()
    const error: unknown = await reading.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ name: 'WatchBrokenError' })
    expect(inspect(error)).not.toContain('c2VjcmV0')
  },
)
