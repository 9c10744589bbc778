// docs/reference/metrics.md: every series of a gateway, and those of the controller that are not others' by name.
import { ControllerMetrics } from '../../dist/metrics-controller.js'
import { Metrics } from '../../dist/metrics.js'
import { generatedNote, table } from './table.mjs'

const nothing = {
  gateway: () => ({
    connections: 0,
    connectionsMax: 0,
    subscriptions: 0,
    channels: 0,
    tenants: 0,
    manifestProblems: 0,
    ready: true,
    draining: false,
    redisAwaySeconds: undefined,
    catalogAgeSeconds: undefined,
    certificateExpiresSeconds: undefined,
  }),
  tenants: () => [],
}

/** @param {import('prom-client').Registry} registry */
async function rows(registry) {
  const metrics = await registry.getMetricsAsJSON()
  return metrics.map(({ help, name, type }) => {
    // prom-client keeps label names to itself but for this.
    const { labelNames } = /** @type {{ labelNames: string[] }} */ (
      /** @type {unknown} */ (registry.getSingleMetric(name))
    )
    return [`\`${name}\``, String(type), labelNames.map((label) => `\`${label}\``).join(', '), help]
  })
}

export async function metricsPage() {
  const metrics = new Metrics(nothing, { process: false })
  const controller = new ControllerMetrics({ process: false })
  const ours = (await rows(controller.registry)).filter(([name]) => name?.startsWith('`parley_'))
  const head = ['name', 'type', 'labels', 'meaning']
  return `${generatedNote}
# Metrics

Prometheus text on port 9090 of each gateway, and on port 9091 of each controller. No label holds a user or a channel.

## \`/metrics\`

One gateway. Node's own process metrics (\`process_…\`, \`nodejs_…\`) come with it.

${table(head, await rows(metrics.registry))}
## \`/metrics/tenants\`

One tenant on one gateway, \`tenant="<namespace>/<name>"\`: scrape it less often than the rest.

${table(head, await rows(metrics.tenantRegistry))}
## The controller's \`/metrics\`

Besides Node's own, and controller-runtime's and client-go's by their names (\`controller_runtime_…\`, \`workqueue_…\`, \`leader_election_…\`, \`rest_client_…\`):

${table(head, ours)}
## The controller's \`/metrics/tenants\`

${table(head, await rows(controller.tenantRegistry))}`
}
