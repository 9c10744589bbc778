import { expect, test } from 'vitest'
import { CommandTally, Tally } from './metrics.js'

test('add() adds one, or the given number', () => {
  const tally = new Tally()
  tally.add()
  tally.add(41)
  expect(tally.total).toBe(42)
})

test('commands are counted by endpoint, command and result', () => {
  const commands = new CommandTally()
  commands.add('chat', 'publish', 'ok')
  commands.add('chat', 'publish', 'ok')
  commands.add('chat', 'publish', 'QUOTA_EXCEEDED')
  commands.add('chat', 'subscribe', 'ok')
  commands.add('centrifuge-json', 'publish', 'ok')
  expect([...commands.read()]).toEqual([
    { endpoint: 'chat', command: 'publish', result: 'ok', total: 2 },
    { endpoint: 'chat', command: 'publish', result: 'QUOTA_EXCEEDED', total: 1 },
    { endpoint: 'chat', command: 'subscribe', result: 'ok', total: 1 },
    { endpoint: 'centrifuge-json', command: 'publish', result: 'ok', total: 1 },
  ])
})
