import { expect, test } from 'vitest'
import { deletionCosts, type GatewayLoad } from './deletion-costs.js'

function gateway(id: string, connections: number, startedAtMs = 1): GatewayLoad {
  return { id, connections, startedAtMs }
}

const costs = (pods: string[], gateways: GatewayLoad[]) => Object.fromEntries(deletionCosts(pods, gateways))

test('the pod with the fewest connections has the lowest rank, and pods with equally many share a rank', () => {
  const gateways = [gateway('gw-a-0f3', 9_000), gateway('gw-b-123', 20), gateway('gw-c-9ab', 20)]
  expect(costs(['gw-a', 'gw-b', 'gw-c'], [...gateways, gateway('gw-d-fff', 0)])).toEqual({
    'gw-a': 2,
    'gw-b': 1,
    'gw-c': 1,
  })
})

test('a pod without a heartbeat ranks below all others, including pods without connections', () => {
  expect(costs(['gw-a', 'gw-b', 'gw-c'], [gateway('gw-a-0f3', 1), gateway('gw-b-123', 0)])).toEqual({
    'gw-a': 2,
    'gw-b': 1,
    'gw-c': 0,
  })
})

test('the newest heartbeat of a restarted container counts', () => {
  const gateways = [gateway('gw-a-222', 3, 20), gateway('gw-a-111', 500, 10), gateway('gw-b-333', 40)]
  expect(costs(['gw-a', 'gw-b'], gateways)).toEqual({ 'gw-a': 1, 'gw-b': 2 })
})

test('a pod whose name is a prefix of another is not confused with it', () => {
  expect(costs(['gw', 'gw-a'], [gateway('gw-a-111', 5)])).toEqual({ gw: 0, 'gw-a': 1 })
})
