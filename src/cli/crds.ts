// `parley crds`: prints the CustomResourceDefinitions of this version for `kubectl apply`, or writes them as
// files.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { crdYaml } from '../resources/crd-yaml.js'
import { customResourceDefinitions } from '../resources/crd.js'
import { badInputExitCode, withDocumentedExitCodes } from './exit-codes.js'

export function crdsCommand(): Command {
  const command = new Command('crds')
    .description('Print the CustomResourceDefinitions of ChatPlan, ChatTenant and ChatCredential.')
    .option('--output <folder>', 'write one file for each into this folder instead')
    .addHelpText('after', '\nExample: parley crds | kubectl apply --server-side -f -')
  return withDocumentedExitCodes(command).action(({ output }: { output?: string }) => {
    const definitions = customResourceDefinitions()
    if (output === undefined) {
      process.stdout.write(definitions.map((definition) => crdYaml(definition)).join('---\n'))
      return
    }
    try {
      mkdirSync(output, { recursive: true })
      for (const definition of definitions) writeFileSync(join(output, definition.file), crdYaml(definition))
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      command.error(`error: cannot write to ${output}: ${why}`, { exitCode: badInputExitCode })
    }
  })
}
