import { expect, test } from 'vitest'
import { ConfigError } from '../errors.js'
import { createLog } from '../log.js'
import { Renewal } from './reloading-file.js'

/** What the files say at the start and at each look after it, as text; `!` and a reason when they cannot be used. */
type Looks = readonly [start: string, ...later: string[]]

interface Seen {
  readonly renewed: string[]
  readonly current: string
  /** One word for each line, and why. */
  readonly log: string[]
}

async function follow([start, ...later]: Looks): Promise<Seen> {
  const log: string[] = []
  const stop = new AbortController()
  const left = [...later]
  let next: string | undefined = start
  const renewal = new Renewal({
    what: 'files',
    pollMs: 1,
    read: () => {
      const text = next ?? ''
      next = left.shift()
      // The look that reads the last of them is still made.
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
  renewal.onRenewed(({ text }) => renewed.push(text))
  await renewal.run(stop.signal)
  return { renewed, current: renewal.current.text, log }
}

test('what stays as it is renews nothing', async () => {
  expect(await follow(['a', 'a', 'a'])).toEqual({ renewed: [], current: 'a', log: [] })
})

test('a change counts when two looks have seen it', async () => {
  expect(await follow(['a', 'b'])).toMatchObject({ renewed: [], current: 'a' })
  expect(await follow(['a', 'b', 'b', 'b'])).toEqual({ renewed: ['b'], current: 'b', log: ['renewed'] })
})

test('what is half written is neither taken nor complained about', async () => {
  expect(await follow(['a', '!half', 'b', 'b'])).toEqual({ renewed: ['b'], current: 'b', log: ['renewed'] })
})

test('what cannot be used is logged once, and what was good stays', async () => {
  expect(await follow(['a', '!bad', '!bad', '!bad', '!bad'])).toEqual({
    renewed: [],
    current: 'a',
    log: ['cannot use: bad'],
  })
})

test('another mistake is logged again, and what is good at last is taken', async () => {
  const { current, log } = await follow(['a', '!bad', '!bad', '!worse', '!worse', 'b', 'b'])
  expect(current).toBe('b')
  expect(log).toEqual(['cannot use: bad', 'cannot use: worse', 'renewed'])
})

test('files that cannot be used at the start are no beginning', async () => {
  await expect(follow(['!bad'])).rejects.toThrow('bad')
})
