// SPDX-License-Identifier: GPL-2.0-or-later
// validate.mjs KIND SCHEMA < a JSON array of documents: a line for each mistake, nothing if there is none.
// KIND: "k8s", by the published types of NetworkPolicy; or "schema", by the JSON schema in the file SCHEMA.
import fs from "fs";
import Ajv from "ajv";
import addFormats from "ajv-formats";

const [kind, file] = process.argv.slice(2);
const documents = JSON.parse(fs.readFileSync(0, "utf8"));
let check;

if (kind === "k8s") {
	const { NetworkPolicy } = await import("kubernetes-models/networking.k8s.io/v1/NetworkPolicy");
	check = (d) => {
		try {
			new NetworkPolicy(d).validate();
			return [];
		} catch (e) {
			return [e.message];
		}
	};
} else {
	const ajv = new Ajv.default({ strict: false, allErrors: true });
	addFormats.default(ajv);
	const validate = ajv.compile(JSON.parse(fs.readFileSync(file, "utf8")));
	check = (d) => (validate(d) ? [] : validate.errors.map((e) => `${e.instancePath}: ${e.message} ${JSON.stringify(e.params)}`));
}
documents.forEach((d, i) => check(d).slice(0, 20).forEach((m) => console.log(`document ${i}: ${m}`)));
console.log(`${documents.length} documents`);
