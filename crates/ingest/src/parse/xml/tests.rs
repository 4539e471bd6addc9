//! Documents, records, feeds, and files that were made to break readers.

use super::*;

fn parsed(xml: &str) -> Result<ParsedDocument, ParseError> {
    parse(Decoded { text: xml.into(), warning: None })
}

fn text(xml: &str) -> String {
    parsed(xml).unwrap().text
}

#[test]
fn paragraphs_sections_and_inline_elements() {
    let xml = "<?xml version='1.0'?><!DOCTYPE book SYSTEM 'book.dtd'><book><title>The Lamp</title>\
        <section><title>Oil &amp; wick</title><para><emphasis>Colza</emphasis> burns at &#x32;00 degrees, &nbsp;say <b>two</b>.</para>\
        <para>Short.</para><section><title>Cost</title><para>Little.</para></section></section></book>";
    let document = parsed(xml).unwrap();
    assert_eq!(
        document.text,
        "# The Lamp\n\n## Oil & wick\n\nColza burns at 200 degrees, &nbsp;say two.\n\nShort.\n\n### Cost\n\nLittle.\n\n"
    );
    let levels: Vec<_> = document.headings.iter().map(|heading| (heading.level, heading.title.as_str())).collect();
    assert_eq!(levels, [(1, "The Lamp"), (2, "Oil & wick"), (3, "Cost")]);
    assert_eq!((document.title.as_deref(), document.media_type.as_str()), (Some("The Lamp"), "application/xml"));
}

#[test]
fn records_keep_the_names_of_their_fields() {
    let xml = "<lamps><lamp id='7'><name>Brattskjær</name><period unit='s'>9</period><note><![CDATA[a < b]]></note></lamp>\
        <spare label='Wick, wide' code='W-7'/><link title='Light list'>here</link></lamps>";
    assert_eq!(text(xml), "name: Brattskjær\nperiod: 9\nnote: a < b\nlabel: Wick, wide\ncode: W-7\ntitle: Light list\nlink: here\n");
}

#[test]
fn feeds_are_headings_and_text() {
    let rss = "<rss xmlns:dc='d' xmlns:c='c'><channel><title>Station</title><image><title>Logo</title></image><description>News.</description>\
        <item><title>Fog &amp;amp; horn</title><link>https://example.org/1</link><pubDate>Mon, 1 Jan</pubDate><dc:creator>A. Berg</dc:creator>\
        <category>fog</category><description>short</description><c:encoded>&lt;p&gt;The &lt;b&gt;horn&lt;/b&gt; blew.&lt;/p&gt;&lt;script&gt;x()&lt;/script&gt;</c:encoded></item>\
        <item><title>Two</title><description><![CDATA[<h2>Deep</h2> text]]></description></item></channel></rss>";
    assert_eq!(
        text(rss),
        "# Station\n\nNews.\n\n## Fog & horn\n\nDate: Mon, 1 Jan\nBy: A. Berg\nLink: https://example.org/1\nTopics: fog\n\nThe **horn** blew.\n\n## Two\n\n## Deep\n\ntext\n\n"
    );
    let atom = "<feed><title>Station</title><link rel='self' href='x'/><entry><title>Fog</title><link href='https://example.org/2'/><updated>2026-01-01</updated>\
        <author><name>A. Berg</name></author><content type='xhtml'><div>It <i>lifted</i> &lt; noon.</div></content></entry></feed>";
    let document = parsed(atom).unwrap();
    assert_eq!(
        document.text,
        "# Station\n\n## Fog\n\nDate: 2026-01-01\nBy: A. Berg\nLink: https://example.org/2\n\nIt *lifted* \\< noon.\n\n"
    );
    assert_eq!((document.media_type.as_str(), document.title.as_deref()), ("application/atom+xml", Some("Station")));
}

#[test]
fn entities_are_never_expanded() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><d>&b;</d>";
    let file = "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><d>&x;</d>";
    let parameter = "<!DOCTYPE d [<!ENTITY % x SYSTEM 'http://127.0.0.1:9/'> %x;]><d>y</d>";
    for xml in [bomb, file, parameter] {
        assert!(matches!(parsed(xml), Err(ParseError::Unsupported { detected }) if detected.contains("entities")), "{xml}");
    }
}

#[test]
fn depth_and_damage_have_reasons() {
    let deep = |levels: usize| format!("{}core{}", "<a>".repeat(levels), "</a>".repeat(levels));
    assert!(text(&deep(steps::LEVELS_MAX)).contains("core"));
    assert!(matches!(parsed(&deep(200_000)), Err(ParseError::Unsupported { detected }) if detected.contains("4096 levels")));
    assert!(matches!(parsed("<a><b></a>"), Err(ParseError::Corrupt { reason }) if reason.contains("XML at byte")));
    assert!(matches!(parsed("<a><b>x"), Err(ParseError::Corrupt { reason }) if reason.contains("2 open elements")));
    assert_eq!(text("<a>&#0;x</a>"), "&#0;x\n\n", "what stands for no character of XML stays as it is written");
}
