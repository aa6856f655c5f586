// SPDX-License-Identifier: GPL-2.0-or-later
// The graph to look at. All text comes from the data island and is set as text, never as markup. What
// the canvas shows can be reached by the keyboard as well: the list at the left, the details at the right.
"use strict";
const explore = document.getElementById("explore"), alone = explore.classList.contains("alone");
const data = JSON.parse(document.getElementById("data").textContent);

function drawGraph() {
	const states = ["approved", "pending", "denied"];
	const colours = { approved: "#116329", pending: "#7d4e00", denied: "#a40e26" };
	const lines = { approved: "solid", pending: "dashed", denied: "dotted" };
	const nodes = new Map(data.nodes.map((n) => [n.id, n]));
	const shown = { states: new Set(states), group: "", text: "" };
	const by = (id) => document.getElementById(id);

	function element(tag, text, className) {
		const e = document.createElement(tag);

		e.textContent = text;
		if (className)
			e.className = className;
		return e;
	}

	// One line for all edges of a pair in a state: 3,000 edges are readable as fewer.
	const pairs = new Map();
	for (const e of data.edges) {
		const key = JSON.stringify([e.from, e.to, e.state]);

		if (!pairs.has(key))
			pairs.set(key, { id: "p" + pairs.size, from: e.from, to: e.to, state: e.state, edges: [], connections: 0 });
		pairs.get(key).edges.push(e);
		pairs.get(key).connections += e.connections;
	}

	// Groups in rows, the nodes of a group in a square: the same picture each time.
	function place() {
		const groups = new Map(), at = new Map(), stepX = 150, stepY = 62;
		let x = 0, y = 0, row = 0;

		for (const n of data.nodes) {
			if (!groups.has(n.group))
				groups.set(n.group, []);
			groups.get(n.group).push(n);
		}
		const columnsOf = (list) => Math.max(1, Math.round(Math.sqrt(list.length * 0.6)));
		const widthOf = (list) => columnsOf(list) * stepX + 90;
		const heightOf = (list) => Math.ceil(list.length / columnsOf(list)) * stepY + 90;
		let area = 0;
		for (const list of groups.values())
			area += widthOf(list) * heightOf(list);
		const width = Math.max(800, Math.sqrt(area * 1.15));
		for (const list of groups.values()) {
			const columns = columnsOf(list);

			if (x > 0 && x + widthOf(list) > width) {
				x = 0;
				y += row;
				row = 0;
			}
			list.forEach((n, i) => at.set(n.id, { x: x + (i % columns) * stepX,
				y: y + Math.floor(i / columns) * stepY + (i % columns % 2) * 20 }));
			row = Math.max(row, heightOf(list) + 20);
			x += widthOf(list);
		}
		return at;
	}

	const at = place();
	const elements = [];
	const groups = [...new Set(data.nodes.map((n) => n.group))];
	groups.forEach((g, i) => {
		if (g !== "")
			elements.push({ data: { id: "g" + i, label: g }, classes: "group" });
	});
	data.nodes.forEach((n, i) => {
		n.key = "n" + i;
		elements.push({ data: { id: n.key, label: n.short, peer: n.id, parent: n.group !== "" ? "g" + groups.indexOf(n.group) : undefined },
			position: at.get(n.id), classes: n.kind === "workload" ? "workload" : "other" });
	});
	for (const p of pairs.values())
		elements.push({ data: { id: p.id, source: nodes.get(p.from).key, target: nodes.get(p.to).key, pair: p,
			colour: colours[p.state], line: lines[p.state], width: 1 + Math.min(6, Math.log10(Math.max(p.connections, 0) + 1)) } });

	const cy = cytoscape({
		container: by("graph"), elements, layout: { name: "preset", padding: 30 },
		hideEdgesOnViewport: pairs.size > 1500, textureOnViewport: pairs.size > 1500, boxSelectionEnabled: false,
		userZoomingEnabled: alone, // a report is scrolled
		style: [
			{ selector: "node", style: { label: "data(label)", "font-size": 18, color: "#1b1f24", shape: "round-rectangle",
				width: 130, height: 34, "text-valign": "center", "text-halign": "center", "background-color": "#ddf4ff",
				"border-width": 1, "border-color": "#57606a", "text-wrap": "ellipsis", "text-max-width": 124,
				"min-zoomed-font-size": 5 } },
			{ selector: ".other", style: { shape: "ellipse", "background-color": "#f6f8fa" } },
			{ selector: ".group", style: { "text-valign": "top", "background-color": "#f6f8fa", "border-color": "#8c959f",
				"font-weight": "bold", "font-size": 26, padding: 14, "compound-sizing-wrt-labels": "exclude" } },
			{ selector: "edge", style: { width: "data(width)", "line-color": "data(colour)", "line-style": "data(line)",
				"curve-style": pairs.size > 1000 ? "straight" : "bezier", "target-arrow-shape": "triangle", "target-arrow-color": "data(colour)",
				opacity: pairs.size > 2000 ? 0.12 : pairs.size > 1000 ? 0.18 : pairs.size > 300 ? 0.35 : 0.8 } },
			{ selector: "edge:loop", style: { "control-point-step-size": 110 } },
			{ selector: ".faded", style: { opacity: 0.25 } },
			{ selector: "edge.faded", style: { opacity: pairs.size > 300 ? 0.02 : 0.1 } },
			{ selector: ".near", style: { opacity: 1 } },
			// Whatever the scale, what was chosen can be read.
			{ selector: "node.near[size]", style: { "font-size": "data(size)", "text-wrap": "none", "z-index": 8,
				"text-background-color": "#fff", "text-background-opacity": 0.9, "text-background-padding": 2 } },
			{ selector: ".chosen", style: { opacity: 1, "border-width": 4, "border-color": "#0550ae", "z-index": 9 } },
			{ selector: "edge.chosen", style: { "underlay-color": "#0550ae", "underlay-opacity": 0.4, "underlay-padding": 4 } },
			{ selector: ".gone", style: { display: "none" } },
		],
	});

	const nameOf = (peer) => nodes.get(peer).label;
	const wanted = (e) => shown.states.has(e.state);

	function button(text, className, act) {
		const li = document.createElement("li"), b = element("button", text, className);

		b.type = "button";
		b.addEventListener("click", act);
		li.append(b);
		return li;
	}

	function title(text) {
		const detail = by("detail");

		detail.replaceChildren(element(alone ? "h2" : "h3", text));
		return detail;
	}

	// So large in the picture that it is `pixels` on the screen, or as large as it always is.
	const legible = (pixels, usual) => Math.max(usual, pixels / cy.zoom());

	function sizeLabels() {
		cy.batch(() => {
			cy.nodes(".group").forEach((x) => x.style({ "font-size": legible(13, 26), "text-max-width": x.width() + 60 }));
			cy.nodes(".near").not(".group").forEach((x) => x.data("size", legible(11, 18)));
		});
	}

	function focusOn(picked) {
		cy.batch(() => {
			cy.elements().removeClass("chosen near faded");
			cy.nodes().removeData("size");
			if (!picked)
				return;
			const near = picked.isNode() ? picked.closedNeighborhood() : picked.union(picked.connectedNodes());

			cy.elements().not(near).not(near.parents()).not(".group").addClass("faded");
			near.addClass("near");
			picked.addClass("chosen");
		});
		sizeLabels();
	}

	const moment = (t) => t && t.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");

	function showEdge(e) {
		const detail = title(nameOf(e.from) + " to " + nameOf(e.to)), dl = document.createElement("dl");
		const rows = [["Port", e.port], ["State", e.state], ["Connections", e.connections.toLocaleString("en")],
			["First seen", moment(e.firstSeen)], ["Last seen", moment(e.lastSeen)], ["Flags", e.flags], ["Approved by", e.approvedBy],
			["Reason", e.reason], ["Ticket", e.ticket], ["Expires", moment(e.expires)], ["Edge", e.id]];

		for (const [name, value] of rows)
			if (value)
				dl.append(element("dt", name), element("dd", value, name === "State" ? e.state : ""));
		detail.append(dl);
	}

	function edgeList(detail, heading, edges, other) {
		const ul = document.createElement("ul");

		if (edges.length === 0)
			return;
		detail.append(element(alone ? "h2" : "h3", heading + " (" + edges.length + ")"));
		for (const e of edges)
			ul.append(button(other(e) + " " + e.port + ", " + e.state, e.state, () => {
				focusOn(cy.edges().filter((x) => x.data("pair").edges.includes(e)));
				showEdge(e);
			}));
		detail.append(ul);
	}

	function showNode(n) {
		const detail = title(n.label);

		detail.append(element("p", n.kind));
		edgeList(detail, "To", data.edges.filter((e) => e.from === n.id && wanted(e)), (e) => nameOf(e.to));
		edgeList(detail, "From", data.edges.filter((e) => e.to === n.id && wanted(e)), (e) => nameOf(e.from));
		focusOn(cy.getElementById(n.key));
	}

	function showPair(p) {
		focusOn(cy.getElementById(p.id));
		if (p.edges.length === 1)
			return showEdge(p.edges[0]);
		edgeList(title(nameOf(p.from) + " to " + nameOf(p.to)), "Connections", p.edges, () => "");
	}

	// Nodes that fit the words and the project; edges between nodes that are there, in a chosen state.
	function refresh() {
		const words = shown.text.toLowerCase(), list = by("nodes"), items = [];
		const fits = (n) => n.label.toLowerCase().includes(words) && (shown.group === "" || n.group === shown.group);
		const near = new Set();

		for (const n of data.nodes)
			if (fits(n))
				near.add(n.id);
		const chosen = new Set(near);
		const reaches = (e) => wanted(e) && (chosen.has(e.from) || chosen.has(e.to));

		for (const e of data.edges)
			if (reaches(e))
				near.add(e.from).add(e.to);
		cy.batch(() => {
			for (const n of data.nodes)
				cy.getElementById(n.key).toggleClass("gone", !near.has(n.id));
			cy.edges().forEach((x) => x.toggleClass("gone", !reaches(x.data("pair"))));
			cy.nodes(".group").forEach((g) => g.toggleClass("gone", g.children().not(".gone").empty()));
		});
		for (const n of data.nodes)
			if (chosen.has(n.id))
				items.push(button(n.label, "", () => showNode(n)));
		list.replaceChildren(...items);
		by("count").textContent = chosen.size + " of " + data.nodes.length + " peers, " +
			data.edges.filter(reaches).length + " of " + data.edges.length + " edges";
	}

	cy.on("tap", "node", (ev) => {
		if (!ev.target.hasClass("group"))
			showNode(nodes.get(ev.target.data("peer")));
	});
	cy.on("tap", "edge", (ev) => showPair(ev.target.data("pair")));
	cy.on("tap", (ev) => {
		if (ev.target === cy)
			focusOn(null);
	});
	for (const s of states)
		by("state-" + s).addEventListener("change", (ev) => {
			shown.states[ev.target.checked ? "add" : "delete"](s);
			refresh();
		});
	for (const g of groups.filter((x) => x !== "").sort()) {
		const o = element("option", g);

		o.value = g;
		by("group").append(o);
	}
	by("group").addEventListener("change", (ev) => {
		shown.group = ev.target.value;
		refresh();
		cy.fit(cy.elements().not(".gone"), 30);
	});
	by("search").addEventListener("input", (ev) => {
		shown.text = ev.target.value;
		refresh();
	});
	by("fit").addEventListener("click", () => cy.fit(cy.elements().not(".gone"), 30));
	const zoom = (factor) => cy.zoom({ level: cy.zoom() * factor, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });

	by("zoom-in").addEventListener("click", () => zoom(1.4));
	by("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
	document.addEventListener("keydown", (ev) => {
		if (!alone && !explore.contains(ev.target))
			return;
		if (ev.key === "Escape")
			focusOn(null);
		if (ev.key === "/" && ev.target.tagName !== "INPUT") {
			ev.preventDefault();
			by("search").focus();
		}
	});
	refresh();
	cy.resize(); // the head has its height now
	cy.fit(30);
	sizeLabels();
	cy.on("zoom", sizeLabels);
	window.nanosegGraph = cy;
}

// Of very many the tables are read, and the picture is drawn for whoever asks: it takes seconds.
explore.hidden = false;
if (alone || data.edges.length <= 5000) {
	drawGraph();
} else {
	const ask = document.createElement("button");

	ask.type = "button";
	ask.id = "draw";
	ask.textContent = "Draw the graph of " + data.edges.length.toLocaleString("en") + " connections";
	ask.addEventListener("click", () => {
		ask.remove();
		drawGraph();
	});
	document.getElementById("graph").append(ask);
}
