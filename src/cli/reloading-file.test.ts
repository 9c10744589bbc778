import { expect, test } from 'vitest'
import { ConfigError } from '../errors.js'
import { createLog } from '../log.js'
import { ReloadingFiles } from './reloading-file.js'

/**
 * The contents at the start and at each poll after it, as text; `!` and a reason when they cannot be used.
 */
type Looks = readonly [start: string, ...later: string[]]

interface Seen {
  readonly renewed: string[]
  readonly current: string
  /** What each log line reports. */
  readonly log: string[]
}

async function follow([start, ...later]: Looks): Promise<Seen> {
  const log: string[] = []
  const stop = new AbortController()
  const left = [...later]
  let next: string | undefined = start
  const renewal = new ReloadingFiles({
    what: 'files',
    pollMs: 1,
    read: () => {
      const text = next ?? ''
      next = left.shift()
      // The poll that reads the last of them still happens.
      if (next === undefined) stop.abort()
      if (text.startsWith('!')) throw new ConfigError([text.slice(1)])
      return { text }
    },
    log: createLog({
      level: 'info',
      name: 'test',
      write: (line) => {
        const { problems } = JSON.parse(line) as { problems?: string[] }
        log.push(problems ? `cannot use: ${problems.join()}` : 'renewed')
      },
    }),
  })
  const renewed: string[] = []
  renewal.onChange(({ text }) => renewed.push(text))
  await renewal.run(stop.signal)
  return { renewed, current: renewal.current.text, log }
}

test('unchanged files cause nothing', async () => {
  expect(await follow(['a', 'a', 'a'])).toEqual({ renewed: [], current: 'a', log: [] })
})

test('a change is accepted when two polls have seen it', async () => {
  expect(await follow(['a', 'b'])).toMatchObject({ renewed: [], current: 'a' })
  expect(await follow(['a', 'b', 'b', 'b'])).toEqual({ renewed: ['b'], current: 'b', log: ['renewed'] })
})

test('a half-written state is neither accepted nor logged', async () => {
  expect(await follow(['a', '!half', 'b', 'b'])).toEqual({ renewed: ['b'], current: 'b', log: ['renewed'] })
})

test('unusable files are logged once, and the last good value stays', async () => {
  expect(await follow(['a', '!bad', '!bad', '!bad', '!bad'])).toEqual({
    renewed: [],
    current: 'a',
    log: ['cannot use: bad'],
  })
})

test('another problem is logged again, and a later good value is accepted', async () => {
  const { current, log } = await follow(['a', '!bad', '!bad', '!worse', '!worse', 'b', 'b'])
  expect(current).toBe('b')
  expect(log).toEqual(['cannot use: bad', 'cannot use: worse', 'renewed'])
})

test('files that cannot be used at the start are refused', async () => {
  await expect(follow(['!bad'])).rejects.toThrow('bad')
})
