// A pure function that ranks gateway pods for a scale-in: the pod with the fewest connections is deleted
// first.
import type { LiveGateway } from '../../catalog/heartbeat.js'

/** The fields of a gateway's heartbeat that the ranking needs. */
export type GatewayLoad = Pick<LiveGateway, 'id' | 'connections' | 'startedAtMs'>

/**
 * Returns the deletion cost of each pod: its rank by connections, starting at 1. Pods with equally many
 * connections share a rank. A pod without a heartbeat has the cost 0, like a pod without the annotation: it
 * has no clients yet, or does not respond any more.
 */
export function deletionCosts(
  pods: readonly string[],
  gateways: readonly GatewayLoad[],
): Map<string, number> {
  // A pod whose container was restarted has two heartbeats. The newest one counts.
  const byAge = gateways.toSorted((a, b) => a.startedAtMs - b.startedAtMs)
  const connectionsOf = new Map(byAge.map(({ connections, id }) => [podOf(id), connections]))
  const distinct = [...new Set(pods.flatMap((pod) => connectionsOf.get(pod) ?? []))].toSorted((a, b) => a - b)
  return new Map(
    pods.map((pod) => {
      const connections = connectionsOf.get(pod)
      return [pod, connections === undefined ? 0 : distinct.indexOf(connections) + 1]
    }),
  )
}

/** A gateway's id is its hostname, which in a cluster is the name of the pod, followed by a random part. */
function podOf(gatewayId: string): string {
  return gatewayId.slice(0, gatewayId.lastIndexOf('-'))
}
