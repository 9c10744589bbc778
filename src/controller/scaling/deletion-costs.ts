// Which gateways go first when there are to be fewer: the emptiest. Pure.
import type { LiveGateway } from '../../catalog/heartbeat.js'

/** What is looked at of a gateway's heartbeat. */
export type GatewayLoad = Pick<LiveGateway, 'id' | 'connections' | 'startedAtMs'>

/**
 * By pod, a rank among these: whoever has fewer connections goes first, whoever has as many goes as soon. 0, which is also what a pod without
 * a cost has, for those that no gateway has told of: they hold nobody yet, or cannot be asked any more.
 */
export function deletionCosts(
  pods: readonly string[],
  gateways: readonly GatewayLoad[],
): Map<string, number> {
  // A container that was restarted has told of two lives; the newest counts.
  const byAge = gateways.toSorted((a, b) => a.startedAtMs - b.startedAtMs)
  const connectionsOf = new Map(byAge.map(({ connections, id }) => [podOf(id), connections]))
  const steps = [...new Set(pods.flatMap((pod) => connectionsOf.get(pod) ?? []))].toSorted((a, b) => a - b)
  return new Map(
    pods.map((pod) => {
      const connections = connectionsOf.get(pod)
      return [pod, connections === undefined ? 0 : steps.indexOf(connections) + 1]
    }),
  )
}

/** A gateway's id is its host's name, which in a cluster is the pod's, and a random part. */
function podOf(gatewayId: string): string {
  return gatewayId.slice(0, gatewayId.lastIndexOf('-'))
}
