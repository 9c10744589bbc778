// docs/reference/metrics.md: every series of a gateway and of the controller.
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

/** With all that comes with its first use. */
function controllerMetrics() {
  const metrics = new ControllerMetrics({ process: false })
  metrics.queueMeter('')
  metrics.reconcileMeter('', 0)
  metrics.leaseMeter('')
  metrics.restMeter('')('', '')
  return metrics
}

export async function metricsPage() {
  const metrics = new Metrics(nothing, { process: false })
  const controller = controllerMetrics()
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

On port 9091, by controller-runtime's and client-go's names where they have one; with Node's own.

${table(head, await rows(controller.registry))}
## The controller's \`/metrics/tenants\`

${table(head, await rows(controller.tenantRegistry))}`
}
