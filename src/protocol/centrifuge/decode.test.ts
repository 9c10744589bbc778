import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CommandError } from '../../errors.js'
import { centrifugeJson } from './json.js'
import { closeCodes } from '../codes.js'
import type { Command, DecodedItem } from '../commands.js'
import { parseTagsFilter } from '../tags-filter.js'

const decode = (frame: string): DecodedItem[] => centrifugeJson.decode(Buffer.from(frame))
const violation = { kind: 'violation', close: closeCodes.badRequest }

/** The single command that `fields` of `method` are decoded to. */
function commandOf(method: string, fields: object): Command {
  const [item] = decode(JSON.stringify({ id: 1, [method]: fields }))
  if (item?.kind !== 'command') throw new Error(`not a command: ${JSON.stringify(item)}`)
  return item.command
}

function refusalOf(method: string, fields: object): CommandError {
  const [item] = decode(JSON.stringify({ id: 1, [method]: fields }))
  if (item?.kind !== 'refused') throw new Error(`not refused: ${JSON.stringify(item)}`)
  expect(item.ref).toBe(1)
  return item.error
}

describe('a frame', () => {
  test('contains several objects, one per line, and may end with a newline', () => {
    const frame = '{"id":1,"connect":{}}\n{"id":2,"presence":{"channel":"a"}}\n{}\n'
    expect(decode(frame)).toEqual([
      { kind: 'command', ref: 1, command: { kind: 'connect', token: '' } },
      { kind: 'command', ref: 2, command: { kind: 'presence', channel: 'a' } },
      { kind: 'pong' },
    ])
    expect(decode(frame.slice(0, -1))).toEqual(decode(frame))
    expect(decode(frame.replaceAll('\n', '\r\n'))).toEqual(decode(frame))
  })

  test.each([
    '',
    '\n',
    '\n{}',
    ' ',
    'x',
    '{',
    'null',
    '1',
    '"{}"',
    '[]',
    '[{"id":1,"connect":{}}]',
    '\ufeff{}',
    '{}{}',
    '{}\u0000',
  ])('%j is a violation', (frame) => {
    expect(decode(frame)).toEqual([violation])
  })

  test('gives the items before a violation, and nothing after it', () => {
    expect(decode('{}\n\n{}')).toEqual([{ kind: 'pong' }, violation])
    expect(decode('{}\n{"id":1}\n{}')).toEqual([{ kind: 'pong' }, violation])
    expect(decode('{}\n\n')).toEqual([{ kind: 'pong' }, violation])
  })

  test('that is not UTF-8 is a violation', () => {
    const frame = Buffer.from('{"id":1,"publish":{"channel":"a","data":"?"}}')
    frame[frame.indexOf('?')] = 0xff
    expect(centrifugeJson.decode(frame)).toEqual([violation])
  })
})

describe('a command object', () => {
  test.each([0, -1, 1.5, 2 ** 32, 1e300, '1', true, {}, [], null, undefined])(
    'id %j is a violation',
    (id) => {
      expect(decode(JSON.stringify({ id, presence: { channel: 'a' } }))).toEqual([violation])
    },
  )

  test('accepts ids up to 2^32 - 1', () => {
    expect(decode('{"id":4294967295,"connect":{}}')).toMatchObject([{ kind: 'command', ref: 4294967295 }])
  })

  test('needs an id, except for `send`', () => {
    expect(decode('{"send":{"data":1}}')).toEqual([{ kind: 'command', ref: 0, command: { kind: 'send' } }])
    expect(decode('{"connect":{}}')).toEqual([violation])
  })

  test.each([
    '{"id":1}',
    '{"id":0}',
    '{"id":1,"ping":{}}',
    '{"id":1,"Connect":{}}',
    '{"id":1,"constructor":{}}',
    '{"x":1}',
    '{"id":1,"connect":null}',
  ])('%s names no method: a violation', (frame) => {
    expect(decode(frame)).toEqual([violation])
  })

  test('the first method in the order of the protocol counts, not the first in the text', () => {
    const frame =
      '{"presence":{"channel":"p"},"publish":{"channel":"a","data":1},"subscribe":null,"id":3,"zzz":1}'
    expect(decode(frame)).toMatchObject([{ ref: 3, command: { kind: 'publish', channel: 'a' } }])
  })

  test('fields of `__proto__` are ignored', () => {
    expect(decode('{"id":1,"__proto__":{"connect":{}}}')).toEqual([violation])
    expect(decode('{"id":1,"presence":{"__proto__":{"channel":"a"}}}')).toEqual([violation])
  })
})

describe('fields', () => {
  test.each<readonly [string, unknown]>([
    ['connect', { token: 5 }],
    ['connect', []],
    ['connect', 'x'],
    ['connect', true],
    ...[
      'subscribe',
      'unsubscribe',
      'publish',
      'presence',
      'presence_stats',
      'history',
      'sub_refresh',
    ].flatMap((method) => [
      [method, {}] as const,
      [method, { channel: '', data: 1 }] as const,
      [method, { channel: null, data: 1 }] as const,
      [method, { channel: 5, data: 1 }] as const,
    ]),
    ['subscribe', { channel: 'a', offset: -1 }],
    ['subscribe', { channel: 'a', offset: 1.5 }],
    ['subscribe', { channel: 'a', offset: '1' }],
    ['subscribe', { channel: 'a', offset: 1e20 }],
    ['subscribe', { channel: 'a', epoch: 1 }],
    ['subscribe', { channel: 'a', recover: 1 }],
    ['subscribe', { channel: 'a', recover: 'true' }],
    ['subscribe', { channel: 'a', delta: 'xdelta' }],
    ['subscribe', { channel: 'a', flag: 1.5 }],
    ['subscribe', { channel: 'a', type: '0' }],
    ['history', { channel: 'a', limit: 1.5 }],
    ['history', { channel: 'a', limit: 2 ** 31 }],
    ['history', { channel: 'a', since: 5 }],
    ['history', { channel: 'a', since: { offset: -1 } }],
    ['history', { channel: 'a', reverse: 'x' }],
    ['rpc', { method: 5 }],
    ['refresh', { token: 5 }],
    ['sub_refresh', { channel: 'a', token: 5 }],
  ])('%s %j is a violation', (method, fields) => {
    expect(decode(JSON.stringify({ id: 1, [method]: fields }))).toEqual([violation])
  })

  test('connect reads the token and ignores unknown fields', () => {
    const fields = { token: 't', name: 'js', version: '5', data: {}, headers: {}, subs: {}, flag: 1 }
    expect(commandOf('connect', fields)).toEqual({ kind: 'connect', token: 't' })
  })

  test('null counts as absent', () => {
    expect(
      commandOf('subscribe', {
        channel: 'a',
        token: null,
        offset: null,
        recover: null,
        tf: null,
        type: null,
      }),
    ).toEqual(commandOf('subscribe', { channel: 'a' }))
  })

  test('commands with few fields', () => {
    expect(commandOf('unsubscribe', { channel: 'a' })).toEqual({ kind: 'unsubscribe', channel: 'a' })
    expect(commandOf('presence', { channel: 'a' })).toEqual({ kind: 'presence', channel: 'a' })
    expect(commandOf('presence_stats', { channel: 'a' })).toEqual({ kind: 'presenceStats', channel: 'a' })
    expect(commandOf('rpc', { method: 'm', data: 1 })).toEqual({ kind: 'rpc', method: 'm' })
    expect(commandOf('refresh', { token: 't' })).toEqual({ kind: 'refresh', token: 't' })
    expect(commandOf('sub_refresh', { channel: 'a', token: 't' })).toEqual({
      kind: 'subRefresh',
      channel: 'a',
      token: 't',
    })
  })
})

describe('subscribe', () => {
  const plain = {
    kind: 'subscribe',
    channel: 'a',
    token: '',
    since: undefined,
    joinLeave: false,
    delta: false,
    recoverable: false,
    gapIsError: false,
  }

  test.each([
    [{}, {}],
    [{ token: 't' }, { token: 't' }],
    [{ join_leave: true }, { joinLeave: true }],
    [{ recoverable: true }, { recoverable: true }],
    [{ positioned: true }, { recoverable: true }],
    [{ offset: 5, epoch: 'e' }, {}],
    [
      { recover: true, offset: 5, epoch: 'e' },
      { recoverable: true, since: { epoch: 'e', offset: 5 } },
    ],
    [{ recover: true }, { recoverable: true, since: { epoch: '', offset: 0 } }],
    [{ flag: 1 }, {}],
    [{ flag: 2 }, { gapIsError: true }],
    [{ flag: 7 }, { gapIsError: true }],
    [{ delta: 'fossil' }, { delta: true }],
    [{ delta: '' }, {}],
  ])('%j', (asked, meant) => {
    expect(commandOf('subscribe', { channel: 'a', ...asked })).toEqual({ ...plain, ...meant })
  })

  test.each(['9007199254740992', '9007199254740993', '18446744073709551615'])(
    'offset %s, which no number here can hold, ends above every stream',
    (offset) => {
      const frame = `{"id":1,"subscribe":{"channel":"a","recover":true,"epoch":"e","offset":${offset}}}`
      expect(decode(frame)).toMatchObject([
        { command: { since: { epoch: 'e', offset: Number.MAX_SAFE_INTEGER } } },
      ])
    },
  )

  test('other types and invalid filters are refused', () => {
    expect(refusalOf('subscribe', { channel: 'a', type: 1 }).code).toBe('NOT_AVAILABLE')
    expect(refusalOf('subscribe', { channel: 'a', tf: { key: 'a' } }).code).toBe('BAD_REQUEST')
  })

  test('a tags filter is parsed and excludes deltas', () => {
    const tf = { key: 'kind', cmp: 'eq', val: 'goal' }
    expect(commandOf('subscribe', { channel: 'a', tf, delta: 'fossil' })).toEqual({
      ...plain,
      filter: parseTagsFilter(tf),
    })
  })
})

describe('history', () => {
  test.each([
    [{}, { limit: 0, since: undefined, reverse: false }],
    [
      { limit: 10, reverse: true },
      { limit: 10, since: undefined, reverse: true },
    ],
    [{ limit: -1 }, { limit: -1, since: undefined, reverse: false }],
    [
      { limit: -7, since: null },
      { limit: -1, since: undefined, reverse: false },
    ],
    [{ since: {} }, { limit: 0, since: { epoch: '', offset: 0 }, reverse: false }],
    [
      { since: { epoch: 'e', offset: 3 }, reverse: true },
      { limit: 0, since: { epoch: 'e', offset: 3 }, reverse: true },
    ],
  ])('%j', (asked, meant) => {
    expect(commandOf('history', { channel: 'a', ...asked })).toEqual({
      kind: 'history',
      channel: 'a',
      ...meant,
    })
  })

  test('a reverse history before offset 0 is refused', () => {
    expect(refusalOf('history', { channel: 'a', reverse: true, since: { offset: 0 } }).code).toBe(
      'BAD_REQUEST',
    )
  })
})

describe('publish', () => {
  test('keeps data exactly as written', () => {
    const data = '{"b":1.0,"a":1e400,"b":12345678901234567890,"\\u0061":"\\ud800\\/é"}'
    const [item] = decode(`{"publish":{"data":${data} ,"channel":"a"},"id":1}`)
    expect(item).toEqual({
      kind: 'command',
      ref: 1,
      command: { kind: 'publish', channel: 'a', data: Buffer.from(data), echo: true },
    })
  })

  test('to a map channel is refused', () => {
    expect(refusalOf('publish', { channel: 'a', type: 1, key: 'k', data: 1 }).code).toBe('NOT_AVAILABLE')
  })

  test.each([{}, { data: null }])('without data is refused: %j', (fields) => {
    expect(refusalOf('publish', { channel: 'a', ...fields }).code).toBe('BAD_REQUEST')
  })

  test.each([0, false, '', {}, []])('accepts %j as data', (data) => {
    expect(commandOf('publish', { channel: 'a', data })).toMatchObject({
      data: Buffer.from(JSON.stringify(data)),
    })
  })

  test('data is refused from 129 levels on', () => {
    const nested = (levels: number): string =>
      `{"id":1,"publish":{"channel":"a","data":${'['.repeat(levels)}${']'.repeat(levels)}}}`
    expect(decode(nested(128))).toMatchObject([{ kind: 'command' }])
    expect(decode(nested(129))).toMatchObject([{ kind: 'refused', ref: 1, error: { code: 'BAD_REQUEST' } }])
    expect(decode(nested(30_000))).toMatchObject([{ kind: 'refused', ref: 1 }])
  })

  test('deep nesting outside of data is ignored', () => {
    expect(decode(`{"id":1,"connect":{"data":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`)).toMatchObject([
      { kind: 'command' },
    ])
  })
})

describe('decode never throws', () => {
  const methods = [
    'connect',
    'subscribe',
    'unsubscribe',
    'publish',
    'presence',
    'presence_stats',
    'history',
    'ping',
    'send',
    'rpc',
    'refresh',
    'sub_refresh',
    '__proto__',
    'constructor',
  ]
  const fieldNames = [
    'channel',
    'token',
    'data',
    'offset',
    'epoch',
    'recover',
    'flag',
    'type',
    'delta',
    'tf',
    'since',
    'limit',
    'reverse',
    '__proto__',
  ]

  function expectOrder(received: readonly DecodedItem[]): void {
    expect(received.length).toBeGreaterThan(0)
    expect(received.findIndex((item) => item.kind === 'violation')).toBeOneOf([-1, received.length - 1])
  }

  test('on any bytes, and a violation is the last item', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expectOrder(centrifugeJson.decode(Buffer.from(bytes)))
      }),
    )
  })

  test('on JSON of roughly the right shape', () => {
    const fields = fc.oneof(fc.dictionary(fc.constantFrom(...fieldNames), fc.jsonValue()), fc.jsonValue())
    const command = fc.dictionary(fc.constantFrom('id', ...methods), fc.oneof(fields, fc.nat()))
    fc.assert(
      fc.property(fc.array(command, { minLength: 1 }), (commands) => {
        expectOrder(decode(commands.map((item) => JSON.stringify(item)).join('\n')))
      }),
      { numRuns: 1000 },
    )
  })
})
